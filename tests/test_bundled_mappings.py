"""The curated mappings against the bundled WordNet and the data sets themselves."""

import csv
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kfr import plugins
from kfr.errors import MappingError
from kfr.hierarchy import Hierarchy
from kfr.mapping import LabelMapping

SPELT = ("cifar10", "cifar100", "fashion-mnist")  # with words, not wnids
SIZES = {
    "cifar10": 10,
    "cifar100": 100,
    "fashion-mnist": 10,
    "imagenet1k": 1000,
    "mini-imagenet": 100,
    "tiny-imagenet": 200,
}

# (ancestor, label): where the truth leaves no choice; the mapping's `why` tells.
NESTED = {
    # Its images show baleen whales, belugas, killer whales: only the general sense.
    "cifar100": {("whale", "dolphin")},
    # A T-shirt is a shirt; WordNet's top, which is none, is women's clothing.
    "fashion-mnist": {("Shirt", "T-shirt/top")},
}

# reference/robustness.md: the first sense is wrong, or there is none.
WRONG_FIRST = """beaver dolphin flatfish leopard lobster otter plate raccoon ray seal
shrew skunk table television tiger trout turtle whale"""
NOT_FOUND = ["aquarium_fish", "maple_tree"]


@pytest.fixture(scope="module")
def wordnet() -> Hierarchy:
    return plugins.make("source", "wordnet", None)


@pytest.fixture(scope="module")
def data() -> Path:
    if "KFR_DATA" not in os.environ:
        pytest.skip("needs the real data sets: set KFR_DATA")
    return Path(os.environ["KFR_DATA"])


@pytest.fixture(scope="module")
def senses(data) -> dict[str, list[str]]:
    """Every noun's synsets, the first sense first."""
    archive = data / "nltk_data" / "corpora" / "wordnet.zip"
    if not archive.is_file():
        pytest.skip("needs WordNet's index.noun in $KFR_DATA/nltk_data")
    with zipfile.ZipFile(archive) as packed:
        lines = packed.read("wordnet/index.noun").decode().splitlines()
    rows = [line.split() for line in lines if not line.startswith("  ")]
    return {row[0]: [f"n{at}" for at in row[-int(row[2]) :]] for row in rows}


def first_sense(senses, label):
    return next(iter(senses.get(label.lower().replace(" ", "_"), [])), None)


@pytest.mark.parametrize("dataset", SIZES)
def test_every_node_is_in_wordnet_and_none_is_meant_twice(dataset, wordnet):
    mapping = LabelMapping.bundled(dataset)
    assert (mapping.dataset, mapping.source) == (dataset, "wordnet")
    assert len(mapping.check(wordnet)) == SIZES[dataset]
    assert len(set(mapping.nodes.values())) == SIZES[dataset]


@pytest.mark.parametrize("dataset", SIZES)
def test_no_class_is_an_ancestor_of_another_but_where_it_must_be(dataset, wordnet):
    mapping = LabelMapping.bundled(dataset)
    at = mapping.check(wordnet)
    label = dict(zip(at.tolist(), mapping.labels, strict=True))
    nested = {
        (label[ancestor], label[node])
        for node in at.tolist()
        for ancestor in wordnet.above(np.array([node])).tolist()
        if ancestor != node and ancestor in label
    }
    assert nested == NESTED.get(dataset, set())
    assert all({*pair} <= mapping.why.keys() for pair in nested)


@pytest.mark.parametrize("dataset", SPELT)
def test_every_departure_from_the_first_sense_says_why(dataset, senses):
    mapping = LabelMapping.bundled(dataset)
    departures = {
        label
        for label, node in mapping.nodes.items()
        if first_sense(senses, label) != node
    }
    nested = {label for pair in NESTED.get(dataset, ()) for label in pair}
    assert departures <= mapping.why.keys() <= departures | nested
    assert all(len(reason.split()) >= 4 for reason in mapping.why.values())


def test_cifar100_departs_where_the_first_sense_is_known_to_be_wrong(senses):
    mapping = LabelMapping.bundled("cifar100")
    assert all(first_sense(senses, x) != mapping.nodes[x] for x in WRONG_FIRST.split())
    assert [x for x in mapping.labels if not first_sense(senses, x)] == NOT_FOUND


@pytest.mark.parametrize(
    ("kind", "labels"),
    {
        "mammal": "beaver dolphin otter seal whale shrew skunk leopard tiger raccoon",
        "fish": "aquarium_fish flatfish ray shark trout",
        "reptile": "crocodile dinosaur lizard snake turtle",
        "tree": "maple_tree oak_tree palm_tree pine_tree willow_tree",
        "person": "baby boy girl man woman",
        "furniture": "bed chair couch table wardrobe",
        "invertebrate": "crab lobster snail spider worm",
        "produce": "apple orange pear sweet_pepper",
        "vehicle": "bicycle motorcycle pickup_truck streetcar tank tractor rocket",
        "device": "clock keyboard lamp",
        "geological formation": "mountain",
        "land": "forest plain",
    }.items(),
)
def test_cifar100_means_the_kind_that_its_superclass_says(kind, labels, wordnet):
    mapping = LabelMapping.bundled("cifar100")
    for label in labels.split():
        node = wordnet.find([mapping.nodes[label]])
        above = {wordnet.name(i) for i in wordnet.above(node).tolist()}
        assert kind in above, label


def test_cifar100_has_the_data_sets_labels_in_order(data):
    labels = json.loads((data / "cifar100" / "labels.json").read_text())
    assert list(LabelMapping.bundled("cifar100").labels) == labels["fine_label_names"]


@pytest.mark.parametrize(
    ("dataset", "labels"),
    {
        "cifar10": "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck",
        "fashion-mnist": "T-shirt/top,Trouser,Pullover,Dress,Coat,"
        "Sandal,Shirt,Sneaker,Bag,Ankle boot",
    }.items(),
)
def test_labels_are_spelt_and_ordered_as_torchvision_does(dataset, labels):
    assert ",".join(LabelMapping.bundled(dataset).labels) == labels


@pytest.mark.parametrize("dataset", ["imagenet1k", "mini-imagenet", "tiny-imagenet"])
def test_the_imagenet_family_is_labelled_by_its_own_nodes_sorted(dataset):
    mapping = LabelMapping.bundled(dataset)
    assert (
        list(mapping.nodes.values()) == list(mapping.labels) == sorted(mapping.labels)
    )


def test_imagenet1k_is_in_ilsvrc_order(data):
    with (data / "imagenet-sample-1000" / "labels.tsv").open() as file:
        wnids = [row["wnid"] for row in csv.DictReader(file, delimiter="\t")]
    derived = data / "hierarchies" / "wordnet-derived" / "ilsvrc1k.classes.tsv"
    lines = derived.read_text().splitlines()
    assert [line.partition("\t")[0] for line in lines] == wnids
    assert list(LabelMapping.bundled("imagenet1k").labels) == wnids


def test_tiny_imagenet_has_its_200_classes(data):
    wnids = (data / "tiny-imagenet-200" / "wnids.txt").read_text().split()
    assert list(LabelMapping.bundled("tiny-imagenet").labels) == sorted(wnids)


def test_mini_imagenet_has_the_classes_of_all_three_parts(data):
    wnids = set()
    for part, size in {"train": 64, "val": 16, "test": 20}.items():
        path = data / "hierarchies" / "mini-imagenet" / f"{part}.csv"
        with path.open() as file:
            classes = {row["label"] for row in csv.DictReader(file)}
        assert len(classes) == size
        wnids |= classes
    assert list(LabelMapping.bundled("mini-imagenet").labels) == sorted(wnids)


def test_an_unknown_data_set_is_named_with_those_that_are_there():
    with pytest.raises(MappingError, match=r"did you mean 'cifar100'"):
        LabelMapping.bundled("cifar-100")
