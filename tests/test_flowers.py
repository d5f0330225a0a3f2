"""Oxford 102 Flowers: numbers, no names."""

import sys

import numpy as np
import pytest
from planting import names_of, plant
from scipy.io import savemat

from kfr.data.flowers import flowers
from kfr.errors import DataError, MissingError


def without_scipy(folder):
    """Write a program that stands for a Python without scipy."""
    program = folder / "python"
    program.write_text(
        f"#!{sys.executable} -S\nimport sys\nexec(open(sys.argv[2]).read())"
    )
    program.chmod(0o700)
    return program


@pytest.fixture
def tree(tmp_path):
    plant(tmp_path, [f"jpg/image_0000{i}.jpg" for i in range(1, 5)])
    savemat(
        tmp_path / "imagelabels.mat", {"labels": np.array([[77, 1, 102, 1]], np.uint8)}
    )
    savemat(tmp_path / "setid.mat", {"trnid": [[4]], "valid": [[1]], "tstid": [[3, 2]]})
    return tmp_path


def test_training_and_validation_images_are_trained_on(tree):
    train, test = (flowers(tree, split) for split in ("train", "test"))
    assert len(train.labels) == 102
    assert names_of(train, tree) == ["jpg/image_00001.jpg", "jpg/image_00004.jpg"]
    assert [train.labels[k] for k in train.targets] == ["77", "1"]
    assert names_of(test, tree) == ["jpg/image_00002.jpg", "jpg/image_00003.jpg"]
    assert [test.labels[k] for k in test.targets] == ["1", "102"]


def test_what_does_not_fit_is_said(tree, monkeypatch):
    savemat(tree / "setid.mat", {"trnid": [[4]], "valid": [[9]], "tstid": [[3]]})
    with pytest.raises(DataError, match="numbers without a label"):
        flowers(tree, "train")
    monkeypatch.setattr("kfr.data.mat.sys.executable", str(without_scipy(tree)))
    with pytest.raises(
        MissingError, match=r"scipy is not installed: pip install .kfr\[report\]"
    ):
        flowers(tree, "test")
