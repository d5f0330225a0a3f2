"""`kfr search queries` and `kfr evaluate --retrieval` on a small trained run."""

import json
from pathlib import Path

import pytest
from shapes_home import LEARNS_ATTRIBUTES, go_to_copy, train_in, write_groups

from kfr.data.images import size_of
from kfr.retrieval.evaluating import tried
from kfr.retrieval.queries import read_queries
from kfr.retrieval.stage import staged


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    write_groups(home)
    train_in(home, LEARNS_ATTRIBUTES | {"dataset": "shapes,train=240,test=96,size=16"})
    return home


@pytest.fixture
def here(home, tmp_path, monkeypatch):
    go_to_copy(home, tmp_path / "here", monkeypatch)


def test_queries_are_drawn_and_searches_judged_as_typed(kfr, here):
    drawn = ["--count", 40, "--seed", 1234, "--by", "class", "--by", "colour"]
    done = kfr("search", "queries", "run", *drawn, "--out", "q.csv", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"queries": 40, "images": 96, "written": "q.csv"}
    lines = Path("q.csv").read_text().splitlines()
    assert lines[0] == "image,condition,condition"
    assert len(lines) == 41

    evaluate = ["evaluate", "run", "--retrieval", "q.csv", "--k", 5, "--lambda", 0.3]
    done = kfr(*evaluate, "--gallery", "found", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["queries"], found["images"]) == (40, 96)
    stage, taught = staged(Path("run"), device="cpu")
    trial = tried(stage, taught, read_queries(Path("q.csv")), k=5, weight=0.3)
    for name, method in trial.methods.items():
        told = found["methods"][name]["scores"]
        assert {n: v["mean"] for n, v in told.items()} == pytest.approx(
            {n: v.mean for n, v in method.scores.items()}, nan_ok=True
        )
    pictures = sorted(Path("found").iterdir())
    assert [p.name for p in pictures] == [f"query-{i}.png" for i in range(6)]
    assert min(size_of(pictures[0])) > 300
    table = kfr(*evaluate)
    assert table.code == 0, table.err
    for expected in ("mean_precision@5", "map@5", "class means", "is better by"):
        assert expected in table.out
    assert not Path("run/report.json").read_text().count("mean_precision")


def test_queries_of_an_index_and_searching_as_before(kfr, here):
    done = kfr("index", "build", "run", "--split", "test", "--to", "x")
    assert done.code == 0, done.err
    done = kfr("search", "queries", "x", "--count", 9, "--by", "node", "--out", "q.csv")
    assert done.code == 0, done.err
    assert {q.conditions[0][:5] for q in read_queries(Path("q.csv"))} == {"group"}
    done = kfr("evaluate", "run", "--retrieval", "q.csv", "--include-query")
    assert done.code == 0, done.err
    gone = kfr("search", "x", "y.png")
    assert gone.code == 4
    assert "there is no such image:\n  y.png" in gone.err
    assert "--show-path" in kfr("search", "--help").out
    assert "--least" in kfr("search", "queries", "--help").out
    assert "--show-path" in kfr("search").out


def test_queries_of_another_split_are_refused(kfr, here):
    kfr("search", "queries", "run", "--split", "train", "--count", 5, "--out", "q.csv")
    done = kfr("evaluate", "run", "--retrieval", "q.csv")
    assert done.code == 3
    assert "are not in the split: train[" in done.err
    done = kfr("evaluate", "run", "--retrieval", "q.csv", "--split", "train")
    assert done.code == 0, done.err
    done = kfr("evaluate", "run", "--retrieval", "q.csv", "--split", "tset")
    assert done.code == 2
    assert "did you mean 'test'" in done.err
