"""`kfr report`: what a page shows of runs, and that nothing leaves it."""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from browser import browser
from PIL import Image

from kfr.errors import DataError, HierarchyError, MissingError
from kfr.report_grid import draw_maps
from kfr.report_page import write_report_page
from kfr.report_run import reported
from kfr.runs import train
from kfr.settings import run_config

SMALL = {
    "dataset": "shapes,train=96,test=48,size=16",
    "hierarchy": "wordnet",
    "backbone": "small,width=16",
    "batch_size": 48,
    "epochs": 2,
    "device": "cpu",
    "workers": 0,
}
FIGURES = {
    *("curves", "precision", "heights", "latent", "projection", "reliability"),
    *("depth", "maps"),
}
NASTY = (
    "</td><script>window.hacked = 1</script><img src=x onerror=hacked=1> $x_$ &amp; 鸟"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    runs = tmp_path_factory.mktemp("here") / "runs"
    list(train(run_config(SMALL), runs / "plain"))
    other = {**SMALL, "objective": ["cross_entropy", "qtr"], "seed": 1}
    list(train(run_config(other), runs / "_two terms"))
    return runs


@pytest.fixture
def runs(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "runs")


def test_the_page_shows_the_numbers_of_the_report_and_fetches_nothing(
    runs, kfr, tmp_path
):
    out, both = tmp_path / "report.html", [runs / "plain", runs / "_two terms"]
    done = kfr("report", *both, "--out", out, "--png", tmp_path / "png", "--json")
    assert done.code == 0, done.err
    pictures = json.loads(done.out)["png"]
    assert len(pictures) == len([*(tmp_path / "png").glob("*.png")]) == 8
    stored = [json.loads((run / "report.json").read_text()) for run in both]
    with browser(tmp_path / "profile") as page:
        page.open(out.as_uri())
        for name in stored[0]["metrics"]:
            cells = page.run(
                f"[...document.querySelectorAll('[data-metric=\"{name}\"]')]"
                ".map(e => e.textContent)"
            )
            shown = [re.findall(r"[\d.]+", cell) for cell in cells]
            for (value, low, high), report in zip(shown, stored, strict=True):
                assert value == f"{report['metrics'][name]:.4f}"
                assert float(low) <= float(value) <= float(high)
        assert "now" not in text_of(page, "metrics")
        assert "qtr" in text_of(page, "runs")  # the setting that differs
        broken = "[...document.images].filter(i => !i.naturalWidth).length"
        assert page.run(broken) == 0
        assert page.run("document.querySelectorAll('img.chart').length") == 8
        assert page.run("document.querySelectorAll('td img').length") > 10
        assert page.run("[...document.images].every(i => i.alt)")
        links = "[...document.querySelectorAll('nav a')]"
        lost = f"{links}.filter(a => !document.querySelector(a.hash)).length"
        assert page.run(lost) == 0
        fetched = [x for x in page.requests if not x.startswith("data:")]
        assert fetched == [out.as_uri()]
        assert page.errors == []
        for mode in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": mode}]
            page.call("Emulation.setEmulatedMedia", features=features)
            assert contrast(page) > 7


def test_the_report_of_a_cifar100_run(data, tmp_path, kfr):
    made = [sys.executable, str(data / "prepare.py"), str(tmp_path / "data")]
    made += ["--train", "5", "--test", "3"]
    subprocess.run(made, check=True, capture_output=True)
    chosen = {**SMALL, "dataset": "cifar100", "data_root": str(tmp_path / "data")}
    list(train(run_config(chosen), tmp_path / "cifar"))
    out, pictures = tmp_path / "report.html", tmp_path / "png"
    done = kfr("report", tmp_path / "cifar", "--out", out, "--png", pictures)
    assert done.code == 0, done.err
    assert {path.stem for path in pictures.glob("*.png")} == FIGURES
    with browser(tmp_path / "profile") as page:
        page.open(out.as_uri())
        assert page.run("[...document.images].filter(i => !i.naturalWidth).length") == 0
        for name in FIGURES:
            assert page.run(f"document.querySelectorAll('#{name} img').length") == 1
        assert "mean of the last five epochs" in text_of(page, "runs")
        assert "300" in text_of(page, "runs")  # test images
        numbers = page.run("document.querySelectorAll('[data-metric]').length")
        assert numbers == 7
        rows = page.run("document.querySelectorAll('#confusions tbody tr').length")
        assert rows == 10
        assert page.run("document.querySelectorAll('#confusions td img').length") == 20
        fetched = [x for x in page.requests if not x.startswith("data:")]
        assert fetched == [out.as_uri()]
        assert page.errors == []
        page.picture(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as shot:
        assert shot.height > 3000
        assert len(shot.convert("RGB").getcolors(1 << 24)) > 1000


def test_maps_of_other_images_have_a_row_of_their_own(runs, tmp_path):
    both = [reported(runs / name, device="cpu") for name in ("plain", "_two terms")]
    figure, said = draw_maps(both)
    assert len(figure.axes) == 3 * 8  # the images, and two runs
    assert "plain; then" in said
    looked = both[1].looked
    assert looked.maps.min() == 0
    assert looked.maps.max() == 1
    other = replace(both[1], looked=looked._replace(pixels=1 - looked.pixels))
    assert len(draw_maps([both[0], other])[0].axes) == 4 * 8
    none = replace(both[0], looked=looked._replace(why="no map"))
    with pytest.raises(DataError, match="no map"):
        draw_maps([none])


def test_hostile_labels_are_shown_and_not_run(runs, tmp_path):
    run = reported(runs / "plain", device="cpu")
    labels = tuple(f"{NASTY} {k}" for k in range(len(run.knowledge.labels)))
    listed = replace(run.listed, folder=runs / NASTY.replace("/", ""))
    knowledge = replace(run.knowledge, labels=labels)
    nasty = replace(run, knowledge=knowledge, listed=listed)
    path = tmp_path / "a.html"
    write_report_page([nasty], path, tmp_path / "png")
    text = path.read_text()
    assert "<script" not in text
    assert not re.findall(r"https?://|@import|url\(", text)
    with browser(tmp_path / "profile") as page:
        page.open(path.as_uri())
        assert page.run("window.hacked") is None
        assert NASTY in text_of(page, "confusions")
        assert NASTY.replace("/", "") in page.run("document.title")
        assert page.errors == []


def test_images_in_files_are_shown_small(tmp_path):
    chance = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / part / name
            folder.mkdir(parents=True)
            for i in range(4):
                shade = chance.integers(0, 255, (300, 200, 3), np.uint8)
                Image.fromarray(shade).save(folder / f"{i}.png")
    (tmp_path / "tree.txt").write_text("animal cat\nanimal dog\n")
    chosen = {**SMALL, "dataset": "imagefolder,size=16", "epochs": 1, "batch_size": 4}
    chosen |= {"hierarchy": str(tmp_path / "tree.txt")}
    config = run_config({**chosen, "data_root": str(tmp_path / "pets")})
    list(train(config, tmp_path / "run"))
    run = reported(tmp_path / "run", device="cpu")
    logits = -torch.nn.functional.one_hot(run.seen.target, 2).float()
    wrong = replace(run, seen=run.seen._replace(logits=logits))  # all of them
    write_report_page([wrong], tmp_path / "a.html")
    shown = re.findall(r'image/jpeg;base64,([^"]*)', (tmp_path / "a.html").read_text())
    assert len(shown) == 4
    assert Image.open(io.BytesIO(base64.b64decode(shown[0]))).size == (96, 96)


def test_a_report_of_other_weights_is_told(runs, tmp_path):
    path = runs / "plain" / "report.json"
    report = json.loads(path.read_text())
    report["metrics"]["accuracy"] += 0.25
    path.write_text(json.dumps(report))
    out = tmp_path / "a.html"
    write_report_page([reported(runs / "plain", device="cpu")], out)
    old = report["metrics"]["accuracy"]
    assert f"accuracy {old:.4f}, now {old - 0.25:.4f}" in out.read_text()


@pytest.mark.parametrize("same", [True, False])
def test_runs_scored_on_other_images_do_not_compare(same, runs, tmp_path):
    first, second = (
        reported(runs / name, device="cpu") for name in ("plain", "_two terms")
    )
    if not same:
        turned = second.seen._replace(target=second.seen.target.flip(0))
        second = replace(second, seen=turned)
    write_report_page([first, second], tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert ("scored on different images" in page) is not same


def test_the_page_is_the_same_every_time(runs, tmp_path):
    run = reported(runs / "plain", device="cpu")
    for name in "ab":
        write_report_page([run], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_figure_that_cannot_be_drawn_says_why(runs, tmp_path, monkeypatch):
    from kfr import report_figures

    def refused(_):
        raise HierarchyError("two < roots")

    monkeypatch.setitem(report_figures._FIGURES, "heights", ("Heights", refused))
    write_report_page(
        [reported(runs / "plain", device="cpu")], tmp_path / "a", tmp_path
    )
    assert "Left out: two &lt; roots" in (tmp_path / "a").read_text()
    assert not (tmp_path / "heights.png").exists()


def test_what_is_no_run_is_named(kfr, tmp_path):
    done = kfr("report", tmp_path)
    assert done.code == MissingError.exit_code
    assert "is not a run" in done.err


def text_of(page, name):
    return page.run(f"document.getElementById('{name}').textContent")


def contrast(page):
    """The contrast of text on a card, as WCAG measures it."""
    code = "(e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor])"
    found = page.run(f"{code}(document.querySelector('section'))")
    light = []
    for text in found:
        parts = [int(x) / 255 for x in re.findall(r"\d+", text)[:3]]
        red, green, blue = (
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
        )
        light.append(0.2126 * red + 0.7152 * green + 0.0722 * blue)
    return (max(light) + 0.05) / (min(light) + 0.05)


def test_a_page_that_cannot_be_written_is_refused_before_predicting(kfr, tmp_path):
    (tmp_path / "file").write_text("")
    folder = kfr("report", tmp_path / "none", "--out", tmp_path)
    assert (folder.code, "is a folder; give a file" in folder.err) == (2, True)
    file = kfr("report", tmp_path / "none", "--png", tmp_path / "file")
    assert (file.code, "is a file; give a folder" in file.err) == (2, True)
