"""Classify by embeddings alone, whatever the logits say."""

from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kfr.embeddings import Table
from kfr.errors import UsageError
from kfr.extras import package
from kfr.metrics import Predictions

Numbers = NDArray[np.floating]
Classes = NDArray[np.integer]

_AT_ONCE = 8192  # images


def nearest_embedding(
    predictions: Predictions,
    embeddings: Table,
    *,
    by: Literal["cosine", "euclidean"] = "cosine",
) -> Tensor:
    """Return the class whose embedding `[C, D]` is nearest to each image's, `[N]`.

    The lowest index of equally near ones (Barz & Denzler, WACV 2019).

    Raises:
        UsageError: images and classes have embeddings of different widths.
    """
    points = torch.from_numpy(embeddings).float()
    found = predictions.embedding
    if found.shape[1] != points.shape[1]:
        raise UsageError(
            f"the images' embeddings have {found.shape[1]} numbers, the classes' "
            f"{points.shape[1]}: train with the head semantic and the same embedding, "
            "or take another"
        )
    unit = functional.normalize(points)
    answers = [
        (functional.normalize(some) @ unit.T).argmax(1)
        if by == "cosine"
        else torch.cdist(some, points).argmin(1)
        for some in found.float().split(_AT_ONCE)
    ]
    return torch.cat(answers)


def linear_svm(
    features: Numbers,
    target: Classes,
    test: Numbers,
    *,
    c: Annotated[float, Field(gt=0)] = 0.1,
) -> Classes:
    """Return the classes `[M]` that a linear SVM gives `test` `[M, D]`.

    It is trained on `features` `[N, D]` of the classes `target` `[N]`, one against the
    rest, with the squared hinge loss and the penalty C (Barz & Denzler, WACV 2019:
    0.1).

    Raises:
        MissingError: the package scikit-learn is not there.
        UsageError: all training images are of one class.
    """
    library = package("sklearn.svm", "cluster", called="scikit-learn")
    if len(np.unique(target)) < 2:  # noqa: PLR2004
        raise UsageError("a linear SVM needs images of two classes or more")
    machine = library.LinearSVC(C=c, random_state=0, max_iter=10_000)
    answers: Classes = machine.fit(features, target).predict(test)
    return answers
