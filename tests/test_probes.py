"""Classes from embeddings alone."""

import sys

import numpy as np
import pytest
import torch

from kfr.errors import MissingError, UsageError
from kfr.metrics import Predictions
from kfr.probes import linear_svm, nearest_embedding

POINTS = np.array([[1.0, 0], [0, 1], [3, 3]])


def predictions_of(*embedding):
    found = torch.tensor(embedding)
    return Predictions(found, torch.zeros(len(found), 3), torch.zeros(len(found)))


def test_the_nearest_class_by_angle_and_by_distance():
    found = predictions_of([5.0, 0.1], [0.6, 0.5], [9.0, 9.0], [0.0, 0.0])
    assert nearest_embedding(found, POINTS).tolist() == [0, 2, 2, 0]
    by = nearest_embedding(found, POINTS, by="euclidean")
    assert by.tolist() == [2, 0, 2, 0]


def test_widths_must_agree():
    with pytest.raises(UsageError, match="3 numbers, the classes' 2"):
        nearest_embedding(predictions_of([1.0, 2.0, 3.0]), POINTS)


def test_a_linear_svm_separates_what_a_plane_can():
    draw = np.random.default_rng(0)
    target = np.arange(90) % 3
    middles = np.array([[4, 0], [-4, 4], [-4, -4]])
    features = middles[target] + draw.normal(size=(90, 2))
    answers = linear_svm(features[:60], target[:60], features[60:])
    assert (answers == target[60:]).mean() > 0.95
    with pytest.raises(UsageError, match="two classes"):
        linear_svm(features, target * 0, features)


def test_without_the_package_the_svm_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(MissingError, match=r"pip install 'kfr\[cluster\]'"):
        linear_svm(np.eye(2), np.arange(2), np.eye(2))
