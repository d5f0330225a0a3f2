"""The installed command, as a user types it."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

KFR = Path(sys.executable).with_name("kfr")
TREE = "animal mammal\nmammal cat\nmammal dog\nanimal bird\nbird parrot\n"
SMALL = ["--dataset", "shapes,train=96,test=48,size=32", "--backbone", "small,width=32"]
SMALL += ["--epochs", 1, "--batch-size", 48, "--device", "cpu"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with a small tree of pets."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "tree.txt").write_text(TREE)
    return folder


def test_build_prints_a_summary_and_becomes_the_default(kfr, here):
    done = kfr("hierarchy", "build", "--source", "wordnet", "--dataset", "cifar100")
    assert done.code == 0
    for fact in (
        r"classes +100",
        r"nodes +\d{3}",
        r"height +\d+",
        r"path\(.*dag='lca'",
    ):
        assert re.search(fact, done.out), fact
    assert (here / "kfr.toml").read_text().count("cifar100") == 1
    shown = kfr("inspect", "distances", "--json")
    assert json.loads(shown.out)["shape"] == [100, 100]


def test_build_of_a_tree_alone_takes_its_leaves_for_classes(kfr, here):
    done = kfr("hierarchy", "build", "--hierarchy", "tree.txt", "--json", "--out", "k")
    facts = json.loads(done.out)
    assert (facts["nodes"], facts["classes"], facts["height"]) == (6, 3, 2)
    assert (here / "k" / "knowledge.safetensors").exists()


def test_inspect_lists_the_nearest_and_shows_the_way(kfr, here):
    kfr("hierarchy", "build", "--hierarchy", "tree.txt")
    near = json.loads(kfr("inspect", "distances", "--label", "cat", "--json").out)
    assert [(p["b"], p["distance"]) for p in near] == [("dog", 2.0), ("parrot", 4.0)]
    way = json.loads(
        kfr("inspect", "distances", "--pair", "cat", "parrot", "--json").out
    )
    assert way["path"] == ["cat", "mammal", "animal", "bird", "parrot"]
    assert way["ancestor"] == "animal"
    table = kfr("inspect", "distances", "--label", "cat", "--nearest", 1).out
    assert "dog" in table
    assert "parrot" not in table


def test_inspect_writes_the_matrix_and_draws_it(kfr, here):
    kfr("hierarchy", "build", "--hierarchy", "tree.txt")
    assert kfr("inspect", "distances", "--csv", "d.csv", "--png", "d.png").code == 0
    with Path("d.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["", "cat", "dog", "parrot"]
    assert rows[1] == ["cat", "0.0", "2.0", "4.0"]
    assert Path("d.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_lacking_comes_from_the_last_build_which_is_named(
    kfr, here, tmp_path, monkeypatch
):
    kfr("hierarchy", "build", "--hierarchy", "tree.txt")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = kfr("inspect", "distances", "--label", "cat")
    assert done.code == 0
    assert "tree.txt: from the last build" in done.err


def test_without_any_default_the_option_is_named(kfr, here):
    done = kfr("inspect", "distances")
    assert done.code == 2
    assert "--hierarchy" in done.err
    done = kfr("train", "--hierarchy", "tree.txt")
    assert done.code == 2
    assert "--dataset" in done.err


def test_train_takes_the_dataset_from_the_folder_and_the_tree_from_the_flag(kfr, here):
    """`kfr train --hierarchy custom.txt`, bare."""
    from kfr.data.shapes_drawing import LABELS

    names = [label.replace(" ", "_") for label in LABELS]
    Path("custom.txt").write_text("".join(f"thing {name}\n" for name in names))
    table = "".join(f"{a},{b}\n" for a, b in zip(LABELS, names, strict=True))
    Path("map.csv").write_text("label,node\n" + table)
    Path("kfr.toml").write_text(
        'dataset = "shapes,train=96,test=48,size=32"\nbackbone = "small,width=32"\n'
        'epochs = 1\nbatch_size = 48\ndevice = "cpu"\n'
    )
    done = kfr("train", "--hierarchy", "custom.txt", "--mapping", "map.csv", "--json")
    assert done.code == 0, done.err
    run = Path(json.loads(done.out)["run"])
    assert run.parent == Path("runs")
    again = kfr("evaluate", run, "--json")
    assert json.loads(again.out)["metrics"] == pytest.approx(
        json.loads(done.out)["metrics"]
    )
    # in this flat tree all classes are 2 apart
    assert json.loads(again.out)["metrics"]["mistake_severity"] == 2.0


def test_train_evaluate_and_predict_print_tables(kfr, here):
    from PIL import Image

    Image.new("RGB", (40, 30), "blue").save("a.png")
    done = kfr("train", *SMALL, "--source", "wordnet", "--objective", "cross_entropy",
               "--objective", "qtr,alpha=1", "--out", "run")  # fmt: skip
    assert done.code == 0, done.err
    assert re.search(r"accuracy +0\.\d{4}", done.out)
    assert re.search(r"epoch 1/1 +cross_entropy \d.* qtr \d", done.err)
    assert re.search(r"accuracy +0\.\d{4}", kfr("evaluate", "run").out)
    shown = kfr("predict", "run", "a.png", "--top", 2)
    assert "a.png" in shown.out
    assert "entity" in shown.out
    answers = json.loads(kfr("predict", "run", "a.png", "--json").out)["a.png"]
    assert len(answers) == 5
    one = kfr("evaluate", "run", "--metric", "hier_dist,k=2", "--json")
    assert list(json.loads(one.out)["metrics"]) == ["hier_dist@2"]


MISTAKES = [
    ("train --epocs 3", 2, "epocs"),
    ("train SMALL --source wordnet --epochs -1", 2, "epochs = -1"),
    ("train SMALL --source wordnte", 2, "did you mean 'wordnet'"),
    ("train SMALL --source no.txt", 4, "there is no hierarchy file 'no.txt'"),
    ("train SMALL --source wordnet --objective qrt", 2, "mean 'qtr'"),
    ("train SMALL --source wordnet --objective qtr,alpha=-1", 2, "alpha"),
    ("train SMALL --source wordnet --backbone smal", 2, "mean 'small'"),
    ("train SMALL --source wordnet --device cuda:9", 4, "no device"),
    ("train SMALL --hierarchy tree.txt", 3, "another hierarchy"),
    ("train SMALL --source wordnet --set epoch=3", 2, "mean 'epochs'"),
    ("train SMALL --config no.toml", 4, "no configuration file"),
    ("train --dataset cifar10 --source wordnet", 4, "--data-root"),
    ("train --dataset imagefolder --source tree.txt", 4, "--data-root"),
    ("inspect distances --hierarchy tree.txt --dataset cifar100", 3, "--mapping"),
    ("inspect distances --hierarchy bad.txt", 3, "bad.txt:2: expected two"),
    ("inspect distances --hierarchy loop.txt", 3, "loop.txt:2: .*own ancestor"),
    ("inspect distances --hierarchy two.txt", 3, "--add-root"),
    ("inspect distances --hierarchy tree.txt --label cta", 2, "mean 'cat'"),
    ("evaluate nowhere", 4, "is not a run"),
    ("predict nowhere a.png", 4, "is not a run"),
]


@pytest.mark.parametrize(("line", "code", "message"), MISTAKES)
def test_what_is_wrong_is_said_with_the_way_out(kfr, here, line, code, message):
    Path("bad.txt").write_text("a b\na b c\n")
    Path("loop.txt").write_text("a b\nb a\n")
    Path("two.txt").write_text("a b\nc d\n")
    small = " ".join(map(str, SMALL))
    done = kfr(*line.replace("SMALL", small).split())
    assert done.code == code, done.err
    assert re.search(message, done.err), done.err
    assert not done.out
    assert not (here / "runs").exists() or not list(
        (here / "runs").glob("*/report.json")
    )


def test_cycles_are_broken_and_roots_joined_when_asked(kfr, here):
    Path("loop.txt").write_text("a b\nb c\nc a\n")
    Path("two.txt").write_text("a b\nc d\n")
    done = kfr(
        "hierarchy", "build", "--hierarchy", "loop.txt", "--break-cycles", "--json"
    )
    assert json.loads(done.out)["edges"] == 2
    assert "loop.txt:3: left out" in done.err
    done = kfr("hierarchy", "build", "--hierarchy", "two.txt", "--add-root", "--json")
    assert json.loads(done.out)["roots"] == ["root"]


def test_a_setting_is_overridden_by_a_flag_and_overrides_the_environment(
    kfr, here, monkeypatch
):
    monkeypatch.setenv("KFR_SEED", "1")
    monkeypatch.setenv("KFR_RATE", "0.01")
    path = here / "c.toml"
    path.write_text("seed = 9\nrate = 0.5\nclip = 2.0\n")
    arguments = [
        "train",
        *SMALL,
        "--source",
        "wordnet",
        "--config",
        path,
        "--out",
        "run",
    ]
    assert (
        kfr(*arguments, "--set", "seed=2", "--seed", 3, "--set", "weight_decay=0").code
        == 0
    )
    written = (here / "run" / "config.toml").read_text()
    for line in ("seed = 3", "rate = 0.01", "clip = 2.0", "weight_decay = 0.0"):
        assert line in written


def test_the_cache_is_listed_and_emptied(kfr, here):
    kfr("hierarchy", "build", "--hierarchy", "tree.txt")
    assert len(json.loads(kfr("cache", "list", "--json").out)["entries"]) == 1
    assert "1 entries removed" in kfr("cache", "clear").out
    assert json.loads(kfr("cache", "list", "--json").out)["entries"] == []


def test_doctor_says_what_there_is(kfr, here):
    found = json.loads(kfr("doctor", "--json").out)
    assert found["versions"]["torch"]
    assert found["hierarchies"]["wordnet"] == "82,115 nodes"


def test_the_version_is_printed(kfr):
    from kfr import __version__

    assert kfr("--version").out == f"kfr {__version__}\n"


def test_the_demo_compares_two_runs(kfr, here):
    done = kfr("demo", "--epochs", 1, "--set", "dataset.train=96", "--set",
               "dataset.test=48", "--set", "backbone.width=32")  # fmt: skip
    assert done.code == 0, done.err
    for text in ("cross-entropy + QTR", "mistake_severity", "runs/demo", "next:"):
        assert text in done.out


def test_interrupted_the_command_exits_with_130_and_says_how_to_go_on(here):
    import signal
    import time

    command = [
        KFR,
        "train",
        "--dataset",
        "shapes",
        "--source",
        "wordnet",
        "--out",
        "run",
    ]
    command += ["--device", "cpu"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (here / "run" / "knowledge.safetensors").exists():
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(1)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert "kfr train --resume --out run" in err


def test_inspect_draws_the_hierarchy_and_lists_the_mapping(kfr, here):
    kfr("hierarchy", "build", "--hierarchy", "tree.txt")
    drawn = kfr("inspect", "hierarchy").out
    assert re.search(r"height +2", drawn)
    assert re.search(r"animal\n.*bird\n.*parrot", drawn)
    (tree,) = json.loads(kfr("inspect", "hierarchy", "--json").out)["tree"]
    assert [child["node"] for child in tree["children"]] == ["bird", "mammal"]
    rows = json.loads(kfr("inspect", "mapping", "--json").out)
    ways = {row["label"]: row["is a"] for row in rows}
    assert ways["parrot"] == "bird > animal"
    assert ways["cat"] == ways["dog"] == "mammal > animal"


def test_inspect_audits_with_a_comparison_and_what_a_run_confuses(kfr, here):
    arguments = ["--source", "wordnet", "--dataset", "shapes"]
    assert kfr("train", *SMALL, "--source", "wordnet", "--out", "run").code == 0
    change = "weighting=depth,decay=0.5"
    done = kfr("inspect", "distances", *arguments, "--run", "run", "--compare", change,
               "--html", "a.html", "--json")  # fmt: skip
    assert done.code == 0, done.err
    tables = json.loads(done.out)["tables"]
    assert any(change in title for title in tables)
    assert tables["Confused by the run, far in the hierarchy"]
    kinds = tables["Rank correlation between kinds of distance"]
    assert {"path", "resnik"} <= {row["distance"] for row in kinds}
    assert "Never confused" in Path("a.html").read_text()
    wrong = kfr("inspect", "distances", *arguments, "--compare", "wieghting=depth")
    assert wrong.code == 2
    assert "did you mean 'weighting'" in wrong.err
