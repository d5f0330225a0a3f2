"""`kfr index` and `kfr search` on a small trained run."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from shapes_home import GROUPS, go_to_copy, train_in, write_groups, write_images
from torch.nn import functional

from kfr import load
from kfr.data.images import size_of
from kfr.data.shapes_drawing import LABELS
from kfr.features import features_of
from kfr.retrieval.backward import (
    backward_search,
    log_masses,
    losses_of,
    reader_of,
)
from kfr.retrieval.collection import load_collection
from kfr.retrieval.conditions import condition
from kfr.retrieval.embedding import outputs_of
from kfr.runs import train
from kfr.settings import run_config

SMALL = {
    "dataset": "shapes,train=240,test=60,size=16",
    "hierarchy": "tree.txt",
    "mapping": "map.json",
    "backbone": "small,width=16",
    "head": "mlp,hidden=32,embedding=24",
    "batch_size": 48,
    "epochs": 2,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    write_groups(home)
    write_images(home / "images", 24, '{label}/it\'s "ř"/{i:02} $x_日本.png')
    train_in(home, SMALL)
    return home


@pytest.fixture
def here(home, tmp_path, monkeypatch):
    go_to_copy(home, tmp_path / "here", monkeypatch)
    return Path()


def printed(done):
    assert done.code == 0, done.err
    return json.loads(done.out)


def query():
    return sorted(Path("images").rglob("*.png"))[0]


def test_an_image_finds_itself_and_what_is_found_is_graded(kfr, here):
    made = printed(
        kfr("index", "build", "run", "--images", "images", "--to", "x", "--json")
    )
    assert (made["images"], made["width"]) == (24, 24)
    found = printed(kfr("search", "x", query(), "--k", 24, "--json", "--png", "x.png"))
    first, *others = found["found"]
    assert first["path"] == str(query().resolve())
    assert first["similarity"] == pytest.approx(1, abs=1e-5)
    label = query().parts[1]
    assert found["label"] == first["label"] == label
    for hit in [first, *others]:
        same = LABELS.index(hit["label"]) % GROUPS == LABELS.index(label) % GROUPS
        expected = 1 if hit["label"] == label else 0.5 if same else 0
        assert hit["relevance"] == pytest.approx(expected)
    cosines = [hit["similarity"] for hit in found["found"]]
    assert cosines == sorted(cosines, reverse=True)
    width, height = size_of(Path("x.png"))
    assert height > width > 500
    table = kfr("search", "x", query(), "--k", 3)
    assert table.code == 0
    assert '"ř"' in table.out


def test_without_classes_nothing_is_graded(kfr, here):
    Path("flat").mkdir()
    for i, path in enumerate(sorted(Path("images").rglob("*.png"))[:3]):
        shutil.copy(path, f"flat/{i}.png")
    kfr("index", "build", "run", "--images", "flat", "--to", "x")
    found = printed(kfr("search", "x", "flat/1.png", "--json", "--png", "x.png"))
    assert found["label"] is None
    assert [Path(hit["path"]).name for hit in found["found"]][:1] == ["1.png"]
    assert {(hit["label"], hit["relevance"]) for hit in found["found"]} == {
        (None, None)
    }
    assert len(found["found"]) == 3


def test_a_split_is_indexed_as_its_features(kfr, here):
    kfr(
        "index",
        "build",
        "run",
        "--split",
        "test",
        "--to",
        "x",
        "--index",
        "exact,block=7",
    )
    collection = load_collection(Path("x"))
    features = features_of(Path("run"), device="cpu")
    assert len(collection) == 60
    assert collection.targets.tolist() == features["targets"].tolist()
    unit = functional.normalize(torch.from_numpy(features["embeddings"])).numpy()
    assert np.array_equal(collection.index.vectors, unit)
    found = printed(kfr("search", "x", query(), "--json", "--label", LABELS[0]))
    assert found["label"] == LABELS[0]
    assert found["found"][0]["path"].startswith("test[")


def test_adding_again_adds_nothing_and_a_folder_can_move(kfr, here):
    kfr("index", "build", "run", "--images", f"images/{query().parts[1]}", "--to", "x")
    few = len(load_collection(Path("x")))
    added = printed(kfr("index", "add", "x", "--images", "images", "--json"))
    assert added == {"added": 24 - few, "images": 24}
    content = Path("x").read_bytes()
    again = printed(kfr("index", "add", "x", "--images", "images", "--json"))
    assert again == {"added": 0, "images": 24}
    assert Path("x").read_bytes() == content
    Path("run").rename("moved")
    gone = kfr("search", "x", query())
    assert gone.code == 4
    assert "say where: --run" in gone.err
    assert kfr("search", "x", query(), "--run", "moved").code == 0


def test_another_models_vectors_are_refused(kfr, here):
    kfr("index", "build", "run", "--images", "images", "--to", "x")
    list(train(run_config({**SMALL, "seed": 1, "epochs": 1}), Path("other")))
    content = Path("x").read_bytes()
    done = kfr("index", "add", "x", "--images", "images", "--run", "other")
    assert done.code == 2
    assert "vectors of another model" in done.err
    assert Path("x").read_bytes() == content


def test_wrong_requests_say_what_to_do(kfr, here):
    kfr("index", "build", "run", "--images", "images", "--to", "x")
    search, build = ["search", "x", query()], ["index", "build", "run", "--to"]
    for command, expected in [
        ([*build, "x", "--split", "test"], "x is there already"),
        ([*build, "y"], "either --images DIR or --split"),
        ([*build, "y", "--images", "run"], "there is no image in run"),
        ([*search, "--condition", "group9"], "'group9'"),
        ([*search, "--condition", "not:root"], "leaves no class"),
        ([*search, "--label", "cirle"], "'cirle' (did you mean 'circle'?)"),
        (["search", "x", "run/config.toml"], "cannot read the image"),
        (["search", "tree.txt", query()], "not a file of kfr's"),
    ]:
        done = kfr(*command)
        assert done.code not in {0, 1}
        assert expected in done.err
    assert not Path("y").exists()


def test_conditions_move_the_query_to_where_they_hold(kfr, here):
    kfr("index", "build", "run", "--images", "images", "--to", "x")
    asked = [
        "--condition",
        "group1",
        "--condition",
        f"not:{LABELS[1]}",
        "--lambda",
        0.1,
    ]
    found = printed(kfr("search", "x", query(), *asked, "--show-path", "--json"))
    names = [one["condition"] for one in found["conditions"]]
    assert names == ["group1", f"not:{LABELS[1]}"]
    assert found["conditions"][0]["after"] > found["conditions"][0]["before"]
    first, *_, last = found["path"]
    assert (first["step"], first["moved"]) == (0, 0)
    assert first["masses"][0] == pytest.approx(found["conditions"][0]["before"])
    assert last["masses"][0] == pytest.approx(found["conditions"][0]["after"])
    assert last["loss"] == min(point["loss"] for point in found["path"])
    assert first["nearest"] == str(query().resolve())
    assert last["nearest"] == found["found"][0]["path"]
    shown = kfr("search", "x", query(), *asked, "--show-path", "--png", "x.png")
    assert "the way" in shown.out
    assert "path" not in printed(kfr("search", "x", query(), *asked, "--json"))


def test_images_are_ranked_by_the_loss_of_the_search(kfr, here):
    kfr("index", "build", "run", "--images", "images", "--to", "x")
    asked = ["--condition", "group1", "--lambda", 0.2, "--by-loss"]
    found = printed(kfr("search", "x", query(), *asked, "--show-path", "--json"))
    recognizer = load("run", "cpu")
    paths = sorted(Path("images").rglob("*.png"))
    output = outputs_of(recognizer, paths)
    reader, z = reader_of(recognizer.model, output), output.embedding
    allowed = condition(recognizer.knowledge, "group1").allowed[None]
    with torch.no_grad():
        losses, order = losses_of(reader, z, z[:1], allowed, 0.2).sort(stable=True)
    hits = found["found"]
    assert [hit["path"] for hit in hits] == [
        str(paths[i].resolve()) for i in order[:10].tolist()
    ]
    assert [hit["loss"] for hit in hits] == pytest.approx(
        losses[:10].tolist(), abs=1e-4
    )
    (one,) = found["conditions"]
    after = log_masses(reader(z[order[:1]]), allowed).exp()
    assert one["after"] == pytest.approx(after.item(), abs=1e-4)
    assert [point["step"] for point in found["path"]] == [0, 1]
    assert found["path"][-1]["nearest"] == hits[0]["path"]

    shown = kfr("search", "x", query(), *asked, "--show-path", "--png", "x.png")
    assert shown.code == 0, shown.err
    assert "loss" in shown.out.partition("the way")[2].partition("meets")[2]
    plain = printed(kfr("search", "x", query(), *asked[:-1], "--json"))
    assert {hit["loss"] for hit in plain["found"]} == {None}
    for more, expected in [
        (["--by-loss"], "no loss without a condition"),
        ([*asked, "--student"], "--by-loss moves nothing, and --student does"),
    ]:
        done = kfr("search", "x", query(), *more)
        assert done.code == 2
        assert expected in done.err


def test_a_node_of_one_class_is_that_class_and_masses_grow(here):
    recognizer = load("run", "cpu")
    known = recognizer.knowledge
    node, label = condition(known, "n5"), condition(known, LABELS[5])
    assert torch.equal(node.allowed, label.allowed)
    output = outputs_of(recognizer, sorted(Path("images").rglob("*.png")))
    reader = reader_of(recognizer.model, output)
    for text in ("n5", "group2", "not:group1"):
        allowed = condition(known, text).allowed[None]
        walk = backward_search(reader, output.embedding, allowed, weight=0.01)
        before, after = (
            log_masses(reader(z), allowed) for z in (output.embedding, walk.end)
        )
        assert (after >= before).all()
        assert (after > before).float().mean() > 0.9
