"""Every hierarchy file that we have for trial loads, or is refused with a reason."""

import re

import numpy as np
import pytest

from kfr import LabelMapping, build_knowledge, plugins
from kfr.errors import HierarchyError
from kfr.sources import Source

DERIVED = [
    ("cifar100", "cifar100.parent-child.txt"),
    ("cifar100", "cifar100.rdfs.nt"),
    ("cifar100", "cifar100.skos.ttl"),
    ("ilsvrc1k", "ilsvrc1k.parent-child.txt"),
    ("ilsvrc1k", "ilsvrc1k.rdfs.nt"),
    ("tiny200", "tiny200.parent-child.txt"),
    ("tiny200", "tiny200.skos.ttl"),
]
LOADS = {  # nodes
    "parent-child/cifar100/cifar.parent-child.txt": 163,
    "parent-child/cifar100/hierarchy.txt": 163,
    "parent-child/ilsvrc/wordnet.parent-child.mintree.txt": 1785,
    "nbdt/CIFAR100.graph-induced-ResNet18.json": 199,
    "nbdt/Imagenet1000.graph-induced-efficientnet_b7b.json": 1999,
}
REFUSED = {
    "nbdt/wnids/CIFAR10.txt": "expected two fields",
    "parent-child/cub200/classes_flat.txt": "expected two fields",
}


@pytest.fixture(scope="module")
def wordnet():
    return plugins.make("source", "wordnet", None)


def wnid(name):
    return re.sub(r".*[:/#]", "", name)


def edges(hierarchy):
    return {(wnid(parent), wnid(child)) for parent, child in hierarchy.edges}


@pytest.mark.parametrize(("classes", "file"), DERIVED)
def test_what_was_derived_from_wordnet_is_wordnet_pruned(classes, file, data, wordnet):
    folder = data / "hierarchies" / "wordnet-derived"
    table = (folder / f"{classes}.classes.tsv").read_text().splitlines()
    nodes = [line.split("\t")[0] for line in table if line.startswith("n")]
    loaded = Source.parse(str(folder / file)).load()
    pruned = wordnet.prune(wordnet.find(nodes))
    assert edges(loaded) == edges(pruned)
    there = {wnid(node): node for node in loaded.nodes}
    ours, theirs = (
        build_knowledge(h, LabelMapping(dataset="x", nodes={n: m[n] for n in nodes}))
        for h, m in ((wordnet, {n: n for n in nodes}), (loaded, there))
    )
    every = np.arange(len(nodes))
    measured = [k.distances.between(every, every) for k in (ours, theirs)]
    assert np.array_equal(*measured)


@pytest.mark.parametrize("file", LOADS)
def test_a_file_loads_and_has_all_its_nodes(file, data):
    assert len(Source.parse(str(data / "hierarchies" / file)).load()) == LOADS[file]


@pytest.mark.parametrize("file", REFUSED)
def test_a_file_that_is_no_hierarchy_is_refused_with_its_line(file, data):
    with pytest.raises(HierarchyError, match=rf"{file}:1: .*{REFUSED[file]}"):
        Source.parse(str(data / "hierarchies" / file)).load()


def test_two_forms_of_one_vocabulary_are_the_same_hierarchy(data):
    rdf = data / "hierarchies" / "rdf"
    turtle, xml = (
        Source.parse(str(rdf / f"yso-archaeology.skos.{kind}")).load()
        for kind in ("ttl", "rdf")
    )
    assert turtle.fingerprint == xml.fingerprint
    assert len(turtle.parents) == 51


def test_pizzas_named_classes_load_and_its_restrictions_do_not(data):
    path = data / "hierarchies" / "rdf" / "pizza.owl"
    pizza = {
        p.rpartition("#")[2]: i
        for i, p in enumerate(Source.parse(str(path)).load().nodes)
    }
    assert {"Pizza", "NamedPizza", "Margherita"} <= pizza.keys()
    assert (
        not [name for name in pizza if name.startswith(("_:", "N"))]
        or "NamedPizza" in pizza
    )


@pytest.mark.parametrize("file", ["cifar100.rdfs.nt", "cifar100.skos.ttl"])
def test_both_parsers_find_the_same(file, data):
    pytest.importorskip("pyoxigraph")
    path = data / "hierarchies" / "wordnet-derived" / file
    streamed, whole = (
        Source.parse(f"rdf,path={path},parser={parser}").load()
        for parser in ("oxigraph", "rdflib")
    )
    assert streamed.fingerprint == whole.fingerprint
    assert list(streamed.names or ()) == list(whole.names or ())
