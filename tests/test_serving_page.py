"""The served page in a browser: an image chosen, conditions set, what is shown."""

import json
import re
import time

import pytest
from browser import browser
from PIL import Image
from served import NASTY, loopback_only, served

from kfr.data.shapes_drawing import LABELS

MB = 1 << 20
TOGETHER = ["images", "found", "seen", "near"]


@pytest.fixture(autouse=True)
def loopback(no_network, monkeypatch):
    """Let tests speak to this machine only."""
    loopback_only(monkeypatch)


@pytest.fixture
def page(there, tmp_path):
    with browser(tmp_path / "profile") as page:
        resize(page, 1280, 900)
        page.open(there.server.address)
        until(page, "document.querySelectorAll('#browse .card').length === 48")
        yield page
        assert page.errors == []
        ours = f"http://127.0.0.1:{there.port}/"
        assert [x for x in page.requests if not x.startswith(ours)] == []
        assert page.run("window.hacked") is None


def resize(page, width, height, mode="light"):
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    page.call("Emulation.setDeviceMetricsOverride", **size)
    features = [{"name": "prefers-color-scheme", "value": mode}]
    page.call("Emulation.setEmulatedMedia", features=features)


def until(page, code, seconds=60):
    end = time.monotonic() + seconds
    while not page.run(code):
        assert time.monotonic() < end, f"{code}: {text(page, 'error')}"
        time.sleep(0.02)


def text(page, name):
    return page.run(f"document.getElementById('{name}').textContent")


def hits(page):
    code = "[...document.querySelectorAll('#hits .card')].map(c => +c.dataset.position)"
    return page.run(code)


def positions(answer):
    return [hit["position"] for hit in answer["found"]]


def choose(page, number=0):
    page.run(f"document.querySelectorAll('#browse .card')[{number}].click()")
    until(page, "document.querySelectorAll('#hits .card').length === 24")
    code = f"+document.querySelectorAll('#browse .card')[{number}].dataset.position"
    return page.run(code)


def give(page, path):
    """Choose a file in the page's file input."""
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    found = page.call("DOM.querySelector", nodeId=root, selector="#file")
    page.call("DOM.setFileInputFiles", files=[str(path)], nodeId=found["nodeId"])


def test_an_image_is_chosen_a_condition_set_and_the_gallery_changes(there, page):
    assert page.run("location.href") == f"http://127.0.0.1:{there.port}/"  # no token
    assert text(page, "title") == "x.index"
    image = choose(page, 4)
    plain = hits(page)
    asked = {"image": image}
    assert plain == positions(there.post("/api/search", asked).json)
    assert image not in plain
    broken = "[...document.images].filter(i => i.complete && !i.naturalWidth && i.src)"
    assert page.run(f"{broken}.length") == 0

    page.run("document.querySelector('#tree [tabindex=\"0\"]').focus()")
    row = "document.activeElement.querySelector('.name').textContent"
    assert page.run(row) == "root"
    for key in ("ArrowDown", "ArrowDown", "ArrowDown"):
        page.press(key)
    assert page.run(row) == "group2"
    page.press("Enter")
    until(page, "document.querySelectorAll('.reach').length === 1")
    asked |= {"conditions": [{"node": "group2"}]}
    answer = there.post("/api/search", asked).json
    assert hits(page) == positions(answer)
    (reached,) = answer["conditions"]
    shown = page.run("document.querySelector('.reach .n').textContent").split(" → ")
    assert float(shown[0]) == pytest.approx(reached["before"], abs=1e-3)
    assert float(shown[1]) == pytest.approx(reached["after"], abs=1e-3)
    marked = "[...document.querySelectorAll('#hits .card')].map(c => !!c.querySelector"
    met = [h["meets"][0] for h in answer["found"]]
    assert page.run(f"{marked}('.yes'))") == met
    frame = "+c.style.getPropertyValue('--grade')"
    assert (
        page.run(f"[...document.querySelectorAll('#hits .card')].map(c => {frame})")
        == met
    )
    grades = "[...document.querySelectorAll('#hits .soft')].map(e => e.textContent)"
    for line, hit in zip(page.run(grades), answer["found"], strict=True):
        assert f"relevance {hit['relevance']:.2f}" in line
    points = page.run("document.querySelectorAll('#points li').length")
    assert points == len(answer["path"]) >= 1
    lines = page.run("document.querySelectorAll('#chart polyline').length")
    assert lines == 1

    page.press("Enter")  # once more: not to be that
    until(page, "document.querySelector('.reach b').textContent === 'not: group2'")
    page.run("document.getElementById('lambda').value = 0")
    page.run("document.getElementById('lambda').dispatchEvent(new Event('input'))")
    asked |= {"conditions": [{"node": "group2", "not": True}], "lambda": 0}
    free = there.post("/api/search", asked).json
    now = "+document.querySelector('.reach .n').textContent.split(' → ')[1]"
    until(page, f"Math.abs({now} - {free['conditions'][0]['after']}) < 1e-3")
    assert hits(page) == positions(free)
    assert free["conditions"][0]["after"] >= answer["conditions"][0]["before"]
    page.run("document.querySelector('#chips button').click()")
    until(page, "document.querySelectorAll('.reach').length === 0")
    assert hits(page) == plain


def test_images_can_be_ranked_by_the_loss_instead(there, page):
    asked = {"image": choose(page, 4), "conditions": [{"node": "group2"}]}
    page.run("document.querySelectorAll('#tree .row')[3].click()")
    until(page, "document.querySelectorAll('.reach').length === 1")
    moved = hits(page)
    change = "document.getElementById('how').dispatchEvent(new Event('change'))"
    page.run(f"document.getElementById('how').value = 'loss'; {change}")
    until(page, "document.getElementById('way').hidden")
    ranked = there.post("/api/search", asked | {"how": "loss"}).json
    assert hits(page) == positions(ranked) != moved
    page.run(f"document.getElementById('how').value = 'search'; {change}")
    until(page, "!document.getElementById('way').hidden")
    assert hits(page) == moved


def test_names_that_are_markup_are_shown_as_they_are(page):
    page.run("document.getElementById('find').value = '<SCRIPT'")
    page.run("document.getElementById('find').dispatchEvent(new Event('input'))")
    names = "[...document.querySelectorAll('#tree .name')].map(e => e.textContent)"
    found = page.run(names)
    assert [n for n in found if NASTY in n] == [
        f"{NASTY}{i}  [{LABELS[i]}]" for i in range(2)
    ]
    assert "root" in found  # what lies above is shown, too
    page.run("document.querySelectorAll('#tree .row')[2].click()")
    choose(page)
    until(page, "document.querySelectorAll('.reach').length === 1")
    for place in ("chips", "reached", "way"):
        assert NASTY in text(page, place)
    code = "(() => { try { document.body.innerHTML = 'x' } catch (e) { return 1 } })()"
    assert page.run(code) == 1  # the policy lets no text become markup
    assert "<b>$x_日本.png" in page.run("document.querySelector('.card img').title")


def test_an_image_is_sent_and_one_of_100_mb_is_not(there, page, tmp_path):
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(100 * MB)
    give(page, tmp_path / "large.png")
    until(page, "document.getElementById('error').textContent !== ''")
    assert text(page, "error") == "large.png is too large; at most 20 MB can be sent"
    (tmp_path / "no.png").write_bytes(b"nothing")
    give(page, tmp_path / "no.png")
    until(page, "document.getElementById('error').textContent.includes('this is no')")
    Image.open(there.site.collection.paths[9]).save(tmp_path / "<i>mine.png")
    give(page, tmp_path / "<i>mine.png")
    until(page, "document.querySelectorAll('#hits .card').length === 24")
    assert hits(page)[0] == 9
    assert text(page, "called") == "<i>mine.png"
    assert text(page, "error") == ""
    until(page, "document.getElementById('query').naturalWidth === 20")
    page.run("document.getElementById('tab-seen').click()")
    until(page, "document.querySelectorAll('#lineage li').length === 3")
    name = next(iter(there.site.sent))
    answer = there.post("/api/classify", {"image": name}).json
    assert text(page, "answer").startswith(answer["answer"]["name"])
    likely = "document.querySelector('#others .label').textContent"
    assert page.run(likely) == answer["others"][0]["label"]
    page.run("document.getElementById('threshold').value = 0")
    page.run("document.getElementById('threshold').dispatchEvent(new Event('input'))")
    first = answer["others"][0]["label"]
    until(page, f"document.getElementById('answer').textContent.startsWith('{first}')")


def test_distances_are_browsed_from_class_to_class(there, page):
    page.run("document.getElementById('tab-images').focus()")
    page.press("ArrowLeft")  # round to the last
    assert page.run("document.activeElement.id") == "tab-near"
    until(page, "document.querySelectorAll('#known li').length === 12")
    near = there.get("/api/distances?class=0").json
    labels = "[...document.querySelectorAll('#known .label')].map(e => e.textContent)"
    assert page.run(labels) == [row["label"] for row in near["known"]]
    assert page.run("document.querySelectorAll('#latent li').length") > 0
    page.run("document.querySelector('#known .label').click()")
    following = near["known"][0]["label"]
    until(page, f"document.querySelector('#one b').textContent === '{following}'")


def test_it_fits_a_phone_and_is_readable_by_day_and_night(page):
    choose(page)
    page.run("document.querySelectorAll('#tree .row')[1].click()")
    until(page, "document.querySelectorAll('.reach').length === 1")
    for width, mode in ((1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")):
        resize(page, width, 900, mode)
        for name in TOGETHER:
            page.run(f"document.getElementById('tab-{name}').click()")
            wide = "document.documentElement.scrollWidth - innerWidth"
            assert page.run(wide) <= 0, (width, name)
            assert contrast(page, "section") > 7
            assert contrast(page, ".want") > 4.5
            assert contrast(page, "#drop", "main .soft") > 4.5
    unnamed = """[...document.querySelectorAll('button, input, select')].filter(e =>
      !(e.textContent.trim() || e.labels?.length || e.ariaLabel))"""
    assert page.run(f"{unnamed}.length") == 0


def test_a_value_of_an_attribute_is_a_condition(served_home, tmp_path, monkeypatch):
    monkeypatch.chdir(served_home)
    where = served_home / "run"
    with served(where, split="test") as there, browser(tmp_path / "profile") as page:
        resize(page, 1280, 900)
        page.open(there.server.address)
        until(page, "document.querySelectorAll('#browse .card').length === 48")
        image = choose(page)
        page.run("document.querySelectorAll('.value')[2].click()")
        until(page, "document.querySelectorAll('.reach').length === 1")
        (name, values), *_ = there.get("/api/about").json["attributes"].items()
        one = {"attribute": name, "value": values[2]}
        expected = there.post("/api/search", {"image": image, "conditions": [one]}).json
        assert hits(page) == [hit["position"] for hit in expected["found"]]
        assert page.run("document.querySelector('.reach b').textContent") == values[2]
        assert page.run("document.querySelectorAll('.want.value').length") == 1
        assert page.errors == []


def test_a_run_without_an_index_recognises(served_home, tmp_path, monkeypatch):
    monkeypatch.chdir(served_home)
    with served(served_home / "run") as there, browser(tmp_path / "profile") as page:
        page.open(there.server.address)
        until(page, "document.body.classList.contains('no-index')")
        shown = "[...document.querySelectorAll('[role=tab]')]"
        visible = f"{shown}.filter(t => t.offsetParent).map(t => t.textContent)"
        assert page.run(visible) == ["Recognised", "Distances"]
        give(page, sorted((served_home / "images").rglob("*.png"))[0])
        until(page, "document.querySelectorAll('#others li').length === 6")
        page.run("document.getElementById('tab-near').click()")
        until(page, "document.querySelectorAll('#known li').length === 12")
        assert page.run("document.getElementById('latent-half').hidden")
        assert page.errors == []


def contrast(page, background, foreground=None):
    """The contrast of text on what lies behind it, as WCAG measures it."""
    code = f"""(() => {{
      const style = s => getComputedStyle(document.querySelector(s));
      return [style({json.dumps(foreground or background)}).color,
              style({json.dumps(background)}).backgroundColor] }})()"""
    light = []
    for colour in page.run(code):
        numbers = [float(x) for x in re.findall(r"[\d.]+", colour)]
        if len(numbers) == 4 and numbers[3] == 0:  # what lies below it
            card = "getComputedStyle(document.querySelector('section')).backgroundColor"
            numbers = [float(x) for x in re.findall(r"[\d.]+", page.run(card))]
        parts = [x / 255 for x in numbers[:3]]
        red, green, blue = (
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
        )
        light.append(0.2126 * red + 0.7152 * green + 0.0722 * blue)
    return (max(light) + 0.05) / (min(light) + 0.05)
