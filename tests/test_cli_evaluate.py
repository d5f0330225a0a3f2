"""`kfr evaluate`, `kfr calibrate` and `kfr predict --decision` on a finished run."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from kfr.errors import UsageError
from kfr.evaluation import Report
from kfr.intervals import intervals
from kfr.logs import history
from kfr.metrics import Predictions, named, ready
from kfr.plugins import Plugin
from kfr.runs import train
from kfr.scoring import last_epochs
from kfr.settings import run_config

SMALL = {
    "dataset": "shapes,train=400,test=60,size=16",
    "hierarchy": "wordnet",
    "backbone": "small,width=16",
    "batch_size": 50,
    "epochs": 2,
    "device": "cpu",
    "validation": 0.3,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    runs = tmp_path_factory.mktemp("here") / "runs"
    list(train(run_config(SMALL), runs / "own"))
    other = {**SMALL, "distance": "lca_depth", "epochs": 1, "validation": 0.0}
    list(train(run_config(other), runs / "other"))
    return runs


@pytest.fixture
def runs(trained, tmp_path, monkeypatch):
    """A copy of two runs, in the folder where we are."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "runs")
    return Path("runs")


def printed(done):
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_all_metrics_and_those_that_need_the_training_part(kfr, runs):
    own = runs / "own"
    before = (own / "report.json").read_bytes()
    found = printed(kfr("evaluate", own, "--metrics", "all knn,k=3", "--json"))
    assert {"accuracy", "ahp", "map", "hops", "ece", "knn@3"} <= found["metrics"].keys()
    assert "knn" not in found["metrics"]
    assert (own / "report.json").read_bytes() == before
    again = printed(kfr("evaluate", own, "--json"))
    assert Report.model_validate_json((own / "report.json").read_bytes()) == Report(
        **again
    )
    for name, value in again["metrics"].items():
        assert found["metrics"][name] == pytest.approx(value)


def test_the_mean_of_the_last_epochs_is_that_of_the_history(kfr, runs):
    own = runs / "own"
    assert printed(kfr("evaluate", own, "--json"))["last_epochs"] is None
    assert "last five" not in kfr("evaluate", own).out
    last = history(own)[-1]
    told = [{**last, "epoch": k, "validation/accuracy": k / 10} for k in range(1, 7)]
    (own / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in told))
    found = printed(kfr("evaluate", own, "--json"))
    assert found["last_epochs"] == pytest.approx(0.4)
    assert "mean accuracy of the last five epochs: 0.4000" in kfr("evaluate", own).out


def test_a_run_of_fewer_than_five_epochs_has_no_mean_of_five():
    records = [{"test/accuracy": k / 10} for k in range(5)]
    assert last_epochs(records[:4]) is None
    assert last_epochs(records) == pytest.approx(0.2)
    assert last_epochs([*records, {"test/accuracy": 0.5}]) == pytest.approx(0.3)
    assert last_epochs([]) is None


def test_a_run_under_other_hierarchies(kfr, runs):
    from kfr.data.shapes_drawing import LABELS
    from kfr.folders import knowledge_of

    nodes = knowledge_of(runs / "own").nodes
    Path("flat.txt").write_text("".join(f"thing {node}\n" for node in nodes))
    stored = runs / "other" / "knowledge.safetensors"
    names = [str(runs / "own"), "flat.txt", str(runs / "other"), str(stored)]
    given = [x for name in names[1:] for x in ("--knowledge", name)]
    asked = ["--metrics", "accuracy mistake_severity"]
    found = printed(kfr("evaluate", runs / "own", *given, *asked, "--json"))
    assert list(found) == names
    assert len({r["metrics"]["accuracy"] for r in found.values()}) == 1
    assert len({r["knowledge"] for r in found.values()}) == 3
    severity = [found[name]["metrics"]["mistake_severity"] for name in names]
    assert severity[1] == 2.0  # in a flat tree all classes are 2 apart
    assert severity[0] != severity[2] == severity[3]
    assert len(LABELS) == len(nodes)
    table = kfr("evaluate", runs / "own", *given, *asked)
    assert "flat.txt" in table.out
    assert "2.0000" in table.out


def test_knowledge_of_other_classes_is_refused(kfr, runs, pets):
    from kfr import LabelMapping, build_knowledge, save_knowledge

    mapping = LabelMapping(dataset="pets", nodes={"Cat": "cat", "Dog": "dog"})
    save_knowledge(build_knowledge(pets, mapping), Path("pets.safetensors"))
    done = kfr("evaluate", runs / "own", "--knowledge", "pets.safetensors")
    assert done.code == 3
    assert "pets.safetensors is knowledge of other classes: Cat, Dog" in done.err


def test_intervals_hold_the_metrics(kfr, runs):
    asked = ["--interval", "--metrics", "accuracy ece hier_dist,k=3 mistake_severity"]
    asked += ["--metrics", "latent_alignment"]
    found = printed(kfr("evaluate", runs / "own", *asked, "--json"))
    assert found["intervals"].keys() == found["metrics"].keys()
    for name in ("accuracy", "hier_dist@3", "mistake_severity"):
        around = found["intervals"][name]
        assert around["resamples"] == 1000
        assert around["low"] < found["metrics"][name] < around["high"]
    assert found["intervals"]["ece"]["resamples"] == 1000
    assert found["intervals"]["latent_alignment"]["resamples"] == 200
    assert found == printed(kfr("evaluate", runs / "own", *asked, "--json"))
    text = kfr("evaluate", runs / "own", *asked).out
    assert "(1000 resamples)" in text
    assert "(200 resamples)" in text


def test_an_interval_is_as_wide_as_theory_says():
    """Of 400 images 280 right: 1.96 sqrt(.7 .3 / 400) = 0.045 to each side."""
    import torch

    target = torch.zeros(400, dtype=torch.int64)
    logits = torch.zeros(400, 2)
    logits[:120, 1] = 1
    p = Predictions(torch.zeros(400, 1), logits, target)
    made = ready(None, named([Plugin(name="accuracy"), Plugin(name="ece")]))
    found = intervals(made, p)
    assert found["accuracy"].low == pytest.approx(0.7 - 0.045, abs=0.006)
    assert found["accuracy"].high == pytest.approx(0.7 + 0.045, abs=0.006)
    assert intervals(made, p) == found
    assert intervals(made, p, seed=1) != found


def test_calibrate_stores_what_predict_uses(kfr, runs):
    own = runs / "own"
    Image.new("RGB", (40, 30), "blue").save("a.png")
    found = printed(kfr("calibrate", own, "--risk", 0.2, "--json"))
    assert found == json.loads((own / "decision.json").read_text())
    assert found["held_out"]["images"] == 120
    assert found["held_out"]["risk"] <= found["allowed"] / 120 <= 0.2
    assert found["test"]["images"] == 60
    asked = ["predict", own, "a.png", "--decision", "back_off,risk=0.2"]
    done = kfr(*asked, "--json")
    answer = printed(done)["a.png"]
    assert "calibrating" not in done.err
    chances = [step["probability"] for step in answer["path"]]
    assert chances == sorted(chances)
    assert chances[-1] == pytest.approx(1)
    assert chances[0] >= found["threshold"] or len(chances) == 1
    assert len(answer["others"]) == 5
    shown = kfr(*asked).out
    assert "entity" in shown
    assert "likeliest classes" in shown
    now = kfr("predict", own, "a.png", "--decision", found["decision"], "--json")
    assert printed(now)["a.png"] == answer
    other = kfr("predict", own, "a.png", "--decision", "back_off,risk=0.25", "--json")
    assert "calibrating back_off,risk=0.25; kfr calibrate" in other.err
    assert printed(other)


def test_decisions_are_scored_beside_each_other(kfr, runs):
    own, names = runs / "own", ("argmax", "minimum_risk", "back_off,risk=0.2")
    asked = [x for name in names for x in ("--decision", name)]
    found = printed(kfr("evaluate", own, *asked, "--json"))
    assert tuple(found) == names
    plain = printed(kfr("evaluate", own, "--json"))["metrics"]
    for ours, theirs in (("accuracy", "accuracy"), ("hier_dist", "hier_dist@1")):
        assert found["argmax"][ours] == pytest.approx(plain[theirs])
    severity = found["argmax"]["mistake_severity"]
    assert severity == pytest.approx(plain["mistake_severity"])
    stored = printed(kfr("calibrate", own, "--risk", 0.2, "--json"))
    assert found["back_off,risk=0.2"] == stored["test"]
    table = kfr("evaluate", own, *asked).out
    assert "minimum_risk" in table
    assert "mistake severity" in table
    wrong = kfr("evaluate", runs / "other", "--decision", "back_off")
    assert wrong.code == UsageError.exit_code


def test_glosses_and_other_decisions(kfr, runs):
    Image.new("RGB", (40, 30), "red").save("a.png")
    asked = ["predict", runs / "own", "a.png", "--json", "--decision"]
    (answer,) = printed(kfr(*asked, "minimum_risk")).values()
    assert answer["label"] is not None
    assert answer["path"][-1]["name"] == "entity"
    assert answer["path"][0]["gloss"]
    assert "that which is perceived" in answer["path"][-1]["gloss"]


def test_without_a_held_out_part_nothing_is_promised(kfr, runs):
    done = kfr("calibrate", runs / "other")
    assert done.code == UsageError.exit_code
    assert "--validation" in done.err


def test_where_no_class_is_answered_its_cells_are_empty(kfr, runs):
    done = kfr("evaluate", runs / "own", "--decision", "back_off,threshold=2")
    assert done.code == 0, done.err
    cells = {c[0].strip(): c[1:] for c in map(_cells, done.out.splitlines()) if c}
    assert [c.strip() for c in cells["images"]] == ["60"]
    assert [c.strip() for c in cells["hier dist"]] == [""]
    assert [c.strip() for c in cells["risk"]] == ["0"]


def _cells(line):
    return line.strip().split("│")[1:-1]


def test_too_small_a_part_promises_nothing(kfr, runs):
    done = kfr("calibrate", runs / "own", "--risk", 0.01)
    assert done.code == 3
    assert "120 held-out images are too few" in done.err


def test_a_calibration_of_another_state_is_refused(kfr, runs):
    own = runs / "own"
    Image.new("RGB", (40, 30), "red").save("a.png")
    kfr("calibrate", own, "--risk", 0.2)
    with (own / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "validation/accuracy": 0.5, "seconds": 1}\n')
    done = kfr("predict", own, "a.png", "--decision", "back_off,risk=0.2")
    assert done.code == 2
    assert f"kfr calibrate {own}" in done.err
