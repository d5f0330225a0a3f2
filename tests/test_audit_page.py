import json
import re

import pytest
from browser import browser

from kfr import Hierarchy, LabelMapping, build_knowledge, plugins
from kfr.audit_page import page_data, write_page

PAIRS = [("animal", "mammal"), ("mammal", "cat"), ("mammal", "dog")]
PAIRS += [("animal", "bird"), ("bird", "parrot")]
BOX = """(() => {
  const box = document.getElementById("heat").getBoundingClientRect();
  return [box.left, box.top, box.width];
})()"""
NASTY = "</script><script>window.hacked = 1</script>"


def pets(*labels):
    nodes = dict(zip(labels, ("cat", "dog", "parrot"), strict=True))
    mapping = LabelMapping(dataset="pets", nodes=nodes)
    return build_knowledge(Hierarchy.from_pairs(PAIRS), mapping)


def test_near_classes_stand_together_and_join_first():
    data = page_data(pets("Cat", "Dog", "Parrot"), {})
    cat, dog, parrot = (data["labels"].index(x) for x in ("Cat", "Dog", "Parrot"))
    assert abs(cat - dog) == 1
    assert parrot in (0, 2)
    assert [join[4] for join in data["joins"]] == [2.0, 4.0]
    assert data["levels"] == [0.0, 2.0, 4.0]
    assert data["bins"] == [[2.0, 2.0, 1], [4.0, 4.0, 2]]


def test_without_scipy_the_classes_stand_as_in_the_hierarchy(monkeypatch):
    from kfr import audit_page
    from kfr.errors import MissingError

    def missing(_):
        raise MissingError("scipy")

    monkeypatch.setattr(audit_page, "dendrogram_order", missing)
    data = page_data(pets("Cat", "Dog", "Parrot"), {})
    assert data["labels"] == ["Parrot", "Cat", "Dog"]  # animal > bird before mammal
    assert data["joins"] == []


def test_classes_that_are_nodes_are_shown_by_name():
    wordnet = plugins.make("source", "wordnet", None)
    nodes = {node: node for node in ("n02084071", "n02121620")}
    knowledge = build_knowledge(wordnet, LabelMapping(dataset="x", nodes=nodes))
    assert "dog (n02084071)" in page_data(knowledge, {})["labels"]


def test_the_page_names_no_other_host_and_no_label_ends_its_script(tmp_path):
    write_page(pets(NASTY, "Dog", "Parrot"), tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    assert text.count("</script>") == 1
    assert not re.findall(r"https?://|src=|@import|url\(", text)
    json.loads(re.search(r"const data = (.*);\n", text)[1])


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "imagenet1k"])
def test_pointing_at_a_cell_shows_the_pair_and_nothing_is_fetched(dataset, tmp_path):
    wordnet = plugins.make("source", "wordnet", None)
    mapping = LabelMapping.bundled(dataset)
    knowledge = build_knowledge(wordnet, mapping)
    path = tmp_path / "audit.html"
    write_page(knowledge, path)
    data = page_data(knowledge, {})
    count = len(mapping.labels)
    with browser(tmp_path / "profile") as page:
        page.open(path.as_uri())
        left, top, side = page.run(BOX)
        x, y = round(left + side / 7), round(top + side / 3)
        page.point(x, y)
        row, column = int((y - top) / side * count), int((x - left) / side * count)
        shown = {name: text(page, name) for name in ("a", "b", "distance", "way")}
        assert (shown["a"], shown["b"]) == (data["labels"][row], data["labels"][column])
        classes = [titles(knowledge).index(shown[end]) for end in ("a", "b")]
        expected = knowledge.distances.between(classes[:1], classes[1:])[0, 0]
        assert float(shown["distance"]) == expected
        steps = page.run("document.querySelectorAll('#way li').length")
        assert steps == expected + 1  # all edges weigh 1
        page.run("document.getElementById('heat').focus()")
        page.press("ArrowDown")
        assert text(page, "a") == data["labels"][row + 1]
        assert page.requests == [path.as_uri()]
        assert page.errors == []


def test_a_nasty_label_is_shown_and_not_run(tmp_path):
    write_page(pets(NASTY, "Dog", "Parrot"), tmp_path / "a.html")
    with browser(tmp_path / "profile") as page:
        page.open((tmp_path / "a.html").as_uri())
        assert page.run("window.hacked") is None
        assert NASTY in page.run("document.body.textContent")
        assert page.errors == []


def text(page, name):
    return page.run(f"document.getElementById('{name}').textContent")


def titles(knowledge):
    from kfr import audit

    return [audit.title(knowledge, k) for k in range(len(knowledge.labels))]
