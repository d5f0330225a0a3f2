"""Metrics of what the training part's embeddings say about the test part's."""

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kfr.extras import package
from kfr.knowledge import Knowledge
from kfr.metrics import Count, Mean, Metric, Predictions
from kfr.probes import Classes, Numbers, linear_svm
from kfr.ranking import best_first

_CELLS = 1 << 22


def knn(knowledge: Knowledge, *, k: Count = 20) -> Metric:
    """Share of images right by a vote of the k nearest training images.

    Nearest by cosine similarity, of equally near ones the earlier; each has one vote,
    and of classes with equally many the lowest index wins.
    """
    classes = len(knowledge.labels)

    def values(p: Predictions, train: Predictions) -> Tensor:
        known = functional.normalize(train.embedding.float()).T
        asked = functional.normalize(p.embedding.float())
        answers = [asked.new_zeros(0, dtype=torch.int64)]
        for some in asked.split(max(1, _CELLS // len(train.target))):
            near = train.target[best_first(some @ known, k)]
            votes = functional.one_hot(near, classes).sum(1)
            answers.append(votes.argmax(1))
        return torch.cat(answers) == p.target

    return Mean(values)


def linear_probe(
    _: Knowledge,
    *,
    kind: Literal["logistic", "svm"] = "logistic",
    c: Annotated[float, Field(gt=0)] = 1.0,
) -> Metric:
    """Share of images right by a linear classifier of the embeddings.

    It is trained on the training part's, each number brought to mean 0 and deviation
    1 there: multinomial logistic regression, or a linear SVM (`kfr.probes`); `c` is
    the inverse strength of the penalty.

    Raises:
        MissingError: the package scikit-learn is not there.
    """

    def values(p: Predictions, train: Predictions) -> Tensor:
        features = train.embedding.double().cpu().numpy()
        mean, std = features.mean(0), features.std(0)
        scale = np.where(std > 0, std, 1.0)
        test = (p.embedding.double().cpu().numpy() - mean) / scale
        fit = _logistic if kind == "logistic" else linear_svm
        known = train.target.cpu().numpy()
        answer = fit((features - mean) / scale, known, test, c=c)
        return torch.from_numpy(np.asarray(answer)) == p.target.cpu()

    return Mean(values)


def _logistic(
    features: Numbers, target: Classes, test: Numbers, *, c: float
) -> Classes:
    library = package("sklearn.linear_model", "cluster", called="scikit-learn")
    machine = library.LogisticRegression(C=c, max_iter=1000)
    answers: Classes = machine.fit(features, target).predict(test)
    return answers
