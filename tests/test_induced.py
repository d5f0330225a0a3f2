"""The hierarchy that a trained run has found by itself."""

import subprocess
import sys

import numpy as np
import pytest

from kfr import Hierarchy, LabelMapping, build_knowledge, plugins, save_knowledge
from kfr.errors import (
    DataError,
    HierarchyError,
    MissingError,
    NumericalError,
    UsageError,
)
from kfr.files import save_arrays

LABELS = ("cat", "lion", "car", "bus")
WEIGHTS = np.array([[4, 1], [5, 1], [1, 4], [1, 7]], np.float32)
JOINED = {"cluster_1>cat", "cluster_1>lion", "cluster_2>car", "cluster_2>bus"}
JOINED |= {"cluster_3>cluster_1", "cluster_3>cluster_2"}
CLASSIFIER = "model.head.classifier.weight"


@pytest.fixture
def run(tmp_path):
    """Write a run folder with what `induced` reads of it."""

    def write(arrays, labels=LABELS, checkpoint="last"):
        flat = Hierarchy.from_pairs(("thing", f"node of {label}") for label in labels)
        nodes = {label: f"node of {label}" for label in labels}
        mapping = LabelMapping(dataset="x", nodes=nodes)
        knowledge = build_knowledge(flat, mapping)
        save_knowledge(knowledge, tmp_path / "knowledge.safetensors")
        path = tmp_path / "checkpoints" / f"{checkpoint}.safetensors"
        save_arrays(path, arrays, {"epoch": 1})
        return tmp_path

    return write


def induced(path, options=""):
    return plugins.make("source", f"induced{options}", path)


def edges(hierarchy):
    return {f"{parent}>{child}" for parent, child in hierarchy.edges}


@pytest.mark.parametrize("linkage", ["ward", "average", "complete", "single"])
def test_the_nearest_join_first_and_the_last_joint_is_the_root(run, linkage):
    found = induced(run({CLASSIFIER: WEIGHTS}), f",linkage={linkage}")
    assert edges(found) == JOINED
    assert [found.nodes[i] for i in found.roots.tolist()] == ["cluster_3"]
    assert [found.nodes[i] for i in found.leaves.tolist()] == list(LABELS)


def test_by_cosine_only_the_direction_counts(run):
    rows = np.array([[1, 0], [9, 1], [0, 1], [1, 9]], np.float32)
    found = induced(run({CLASSIFIER: rows}), ",linkage=average,metric=cosine")
    assert {"cat", "lion"} in [
        {c for p, c in found.edges if p == cluster} for cluster in found.nodes
    ]
    with pytest.raises(UsageError, match="ward goes by Euclidean"):
        induced(run({CLASSIFIER: rows}), ",metric=cosine")


def test_leaves_may_be_the_nodes_of_the_mapping(run):
    found = induced(run({CLASSIFIER: WEIGHTS}), ",ids=nodes")
    assert "cluster_1>node of cat" in edges(found)


def test_the_best_checkpoint_goes_before_the_last(run):
    run({CLASSIFIER: WEIGHTS[::-1].copy() * [[1], [9], [1], [1]]})
    assert edges(induced(run({CLASSIFIER: WEIGHTS}, checkpoint="best"))) == JOINED


def test_the_classifier_of_another_head_is_found_if_there_is_one(run):
    other = np.eye(5, dtype=np.float32)
    arrays = {"model.head.last.weight": WEIGHTS, "model.head.first.weight": other}
    assert edges(induced(run(arrays))) == JOINED
    with pytest.raises(HierarchyError, match=r"which layer classifies\? 2 of the head"):
        induced(run({"model.head.a": WEIGHTS, "model.head.b": WEIGHTS}))
    with pytest.raises(HierarchyError, match=r"which layer classifies\? 0 of the head"):
        induced(run({"model.backbone.a": WEIGHTS}))


def test_what_cannot_be_clustered_is_refused(run, tmp_path):
    with pytest.raises(HierarchyError, match="1 classes cannot be clustered"):
        induced(run({CLASSIFIER: WEIGHTS[:1]}, LABELS[:1]))
    with pytest.raises(HierarchyError, match="none like cluster_1"):
        induced(run({CLASSIFIER: WEIGHTS}, (*LABELS[:3], "cluster_1")))
    for wrong in (np.nan, np.inf):
        with pytest.raises((DataError, NumericalError), match="not finite"):
            induced(run({CLASSIFIER: WEIGHTS * np.float32(wrong)}))
    with pytest.raises(DataError, match="no direction"):
        induced(run({CLASSIFIER: WEIGHTS * 0}), ",linkage=single,metric=cosine")


def test_what_is_no_trained_run_is_told(run, tmp_path):
    with pytest.raises(MissingError, match="is not a run"):
        induced(tmp_path)
    folder = run({CLASSIFIER: WEIGHTS})
    (folder / "checkpoints" / "last.safetensors").unlink()
    with pytest.raises(MissingError, match="no checkpoint yet"):
        induced(folder)


def test_weights_are_clustered_without_torch(run):
    code = (
        "import sys; from pathlib import Path; from kfr import plugins\n"
        "plugins.make('source', 'induced', Path(sys.argv[1]))\n"
        "sys.exit('torch' in sys.modules)"
    )
    folder = run({CLASSIFIER: WEIGHTS})
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert done.returncode == 0


def test_the_mean_embeddings_of_a_trained_run_are_clustered(tmp_path):
    """A real run, one epoch over a few drawn shapes; the means are taken by hand."""
    import torch

    from kfr import load
    from kfr.assembly import prepare
    from kfr.runs import train
    from kfr.settings import run_config

    config = run_config(
        {
            "dataset": "shapes,train=96,test=24,size=16",
            "hierarchy": "wordnet",
            "backbone": "small",
            "epochs": 1,
            "device": "cpu",
        }
    )
    list(train(config, tmp_path / "run"))
    found = plugins.make("source", "induced,of=means", tmp_path / "run")
    images, target, *_ = zip(*prepare(config).train.once(), strict=True)
    model = load(tmp_path / "run", device="cpu").model
    with torch.inference_mode():
        embedding = torch.cat([model(batch).embedding for batch in images]).numpy()
    target = torch.cat(target).numpy()
    means = [embedding[target == k].mean(0) for k in range(target.max() + 1)]
    clustered = plugins.find("source", "kfr.hierarchies.induced:clustered")
    leaves = load(tmp_path / "run", device="cpu").labels
    expected = clustered(leaves, np.array(means, float), "ward", "euclidean", "")
    assert found.fingerprint == expected.fingerprint
    assert len(found) == 2 * len(leaves) - 1
