"""The embedded data set: its bytes, boxes, attributes and place in WordNet."""

import hashlib
import json
import os
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pytest

from kfr.data.shapes import shapes
from kfr.data.shapes_drawing import (
    COLOURS,
    LABELS,
    REACH,
    SIZES,
    TEXTURES,
    choose_look,
    draw,
    place,
    portray,
)
from kfr.data.shapes_outlines import FIGURES
from kfr.data.shapes_pixels import Dice, coverage, tight_boxes

MAPPING = Path(__file__).parents[1] / "mappings" / "shapes.json"
KINDS = pytest.mark.parametrize("kind", range(len(LABELS)), ids=LABELS)


@pytest.fixture(scope="module")
def drawn():
    return draw(480, seed=3)


@pytest.fixture(scope="module")
def nodes():
    return json.loads(MAPPING.read_text("utf-8"))["nodes"]


@pytest.fixture(scope="module")
def synsets(nodes):
    if not (folder := os.environ.get("KFR_DATA")):
        pytest.skip("KFR_DATA is not set, so there is no WordNet to look into")
    if not (Path(folder) / "nltk_data").is_dir():
        pytest.skip(f"no nltk_data in KFR_DATA ({folder})")
    import nltk

    nltk.data.path.append(str(Path(folder) / "nltk_data"))
    from nltk.corpus import wordnet

    find = wordnet.synset_from_pos_and_offset
    return {label: find(wnid[0], int(wnid[1:])) for label, wnid in nodes.items()}


def covered_slowly(outline, size, steps=8):
    """Even-odd rule at steps x steps points a pixel."""
    at = (np.arange(size * steps) + 0.5) / steps
    x, y = np.meshgrid(at, at)
    inside = np.zeros_like(x, dtype=bool)
    for (ax, ay), (bx, by) in pairwise([*outline, outline[0]]):
        if ay != by:
            crosses = (ay <= y) != (by <= y)
            inside ^= crosses & (x < ax + (y - ay) * (bx - ax) / (by - ay))
    return inside.reshape(size, steps, size, steps).mean(axis=(1, 3))


def box_slowly(mask):
    points = [(x, y) for y, row in enumerate(mask) for x, on in enumerate(row) if on]
    columns, rows = zip(*points, strict=True)
    return [min(columns), min(rows), max(columns), max(rows)]


def mean_inside(images, masks):
    return np.array([i[m].mean(axis=0) for i, m in zip(images, masks, strict=True)])


def test_the_bytes_of_a_seed_are_pinned():
    digest = hashlib.sha256(b"".join(part.tobytes() for part in draw(48, seed=0)))
    assert (
        digest.hexdigest()
        == "4c6c34bfe1ce25ce84374707638157dd8bd668cf582bed54459bc6dc678d1f1b"
    )


def test_one_seed_draws_twice_the_same_and_another_does_not():
    first, again, other = draw(24, seed=5), draw(24, seed=5), draw(24, seed=6)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.images, other.images)
    assert not np.array_equal(first.targets, other.targets)


def test_no_image_is_in_two_splits_or_seeds():
    images = [
        image.numpy().tobytes()
        for seed in (0, 1)
        for split in ("train", "test")
        for image in shapes(None, split, train=24, test=24, seed=seed).images
    ]
    assert len(set(images)) == len(images) == 4 * 24


@pytest.mark.parametrize("count", [5, 24, 50])
def test_classes_are_balanced_up_to_one(count):
    counts = np.bincount(draw(count, seed=0).targets, minlength=len(LABELS))
    assert counts.sum() == count
    assert counts.max() - counts.min() <= 1


def test_classes_come_in_a_shuffled_order(drawn):
    assert np.abs(np.diff(drawn.targets)).mean() > 5


def test_an_axis_aligned_rectangle_covers_its_area_to_the_quarter_pixel():
    outline = np.array([[[1.25, 1.0], [3.5, 1.0], [3.5, 2.5], [1.25, 2.5]]])
    expected = [[0, 0, 0, 0], [0, 0.75, 1, 0.5], [0, 0.375, 0.5, 0.25], [0, 0, 0, 0]]
    assert coverage(outline, 4)[0].tolist() == expected


def test_either_sense_of_rotation_covers_the_same():
    outline = FIGURES[0].outline(np.zeros((1, 4))) * 10 + np.array([5.0, 12.0])
    one, other = coverage(outline, 20), coverage(outline[:, ::-1], 20)
    assert np.allclose(one, other, atol=0.01)
    assert one.sum() > 30


@KINDS
def test_every_outline_is_covered_as_the_even_odd_rule_says(kind):
    dice = Dice(4, 1)
    outlines = place(FIGURES[kind], choose_look(dice), dice, 48)
    for outline, fast in zip(outlines, coverage(outlines, 48), strict=True):
        slow = covered_slowly(outline, 48)
        assert np.abs(fast - slow).max() < 0.2
        assert abs(fast.sum() - slow.sum()) < 0.02 * slow.sum()


@KINDS
def test_boxes_are_tight_about_the_visible_pixels(kind):
    pictures, masks = portray(kind, 6, seed=0, size=48)
    assert pictures.boxes.tolist() == [box_slowly(mask) for mask in masks]
    assert masks.sum(axis=(1, 2)).min() > 20


def test_the_box_of_a_single_pixel_is_that_pixel():
    mask = np.zeros((1, 6, 6), dtype=bool)
    mask[0, 4, 2] = True
    assert tight_boxes(mask).tolist() == [[2, 4, 2, 4]]


def test_boxes_lie_inside_the_image(drawn):
    x0, y0, x1, y1 = drawn.boxes.T
    assert drawn.boxes.min() >= 0
    assert drawn.boxes.max() < 48
    assert (x1 > x0).all()
    assert (y1 > y0).all()


def test_attributes_index_their_names_and_every_value_occurs(drawn):
    fields = drawn.colours, drawn.textures, drawn.sizes
    for field, names in zip(fields, (COLOURS, TEXTURES, SIZES), strict=True):
        assert set(field.tolist()) == set(range(len(names)))


def test_figures_have_the_size_they_are_said_to_have(drawn):
    longest = (drawn.boxes[:, 2:] - drawn.boxes[:, :2]).max(axis=1) + 1
    medians = [np.median(longest[drawn.sizes == size]) for size in range(len(SIZES))]
    assert medians == sorted(medians)
    assert (longest <= 2 * REACH[drawn.sizes, 1] + 2).all()


def test_figures_have_the_colour_they_are_said_to_have():
    pictures, masks = portray(LABELS.index("circle"), 400, seed=0, size=48)
    means = mean_inside(pictures.images, masks)
    plain = pictures.textures == TEXTURES.index("plain")
    red, green, blue, white, black = (
        means[plain & (pictures.colours == COLOURS.index(name))]
        for name in ("red", "green", "blue", "white", "black")
    )
    assert (red.argmax(axis=1) == 0).all()
    assert (green.argmax(axis=1) == 1).all()
    assert (blue.argmax(axis=1) == 2).all()
    assert white.min() > black.max()


def test_only_outlined_figures_show_the_background_within():
    pictures, masks = portray(LABELS.index("circle"), 200, seed=0, size=48)
    outlined = pictures.textures == TEXTURES.index("outlined")
    x, y = ((pictures.boxes[:, :2] + pictures.boxes[:, 2:]) // 2).T
    rows = np.arange(200)
    centre = pictures.images[rows, y, x].astype(float)
    rim = pictures.images[rows, y, pictures.boxes[:, 0] + 1].astype(float)
    gap = np.abs(centre - rim).sum(axis=1)
    assert np.median(gap[outlined]) > 2 * np.median(gap[~outlined])
    assert masks[rows, y, x].mean() > 0.95


def test_images_have_the_size_asked_for():
    small = shapes(None, "test", test=30, size=32)
    assert small.images.shape == (30, 3, 32, 32)
    assert small.boxes.max() < 32


def test_the_data_set_hands_on_what_was_drawn():
    data, drawn = shapes(None, "test", test=30), draw(30, seed=1)
    assert data.labels == LABELS
    assert not data.flip
    assert np.array_equal(data.images.permute(0, 2, 3, 1), drawn.images)
    assert np.array_equal(data.targets, drawn.targets)
    assert np.array_equal(data.boxes, drawn.boxes)
    for name, names in {"colour": COLOURS, "texture": TEXTURES, "size": SIZES}.items():
        assert data.attributes[name][0] == names
        assert np.array_equal(data.attributes[name][1], getattr(drawn, f"{name}s"))


def test_the_mapping_names_the_labels_in_their_order(nodes):
    assert tuple(nodes) == LABELS


def test_no_two_labels_share_a_node(nodes):
    assert len(set(nodes.values())) == len(nodes)


def test_wordnet_knows_each_node_by_its_label(synsets):
    for label, synset in synsets.items():
        lemma = label.removeprefix("letter ").replace(" ", "_")
        assert lemma in synset.lemma_names()


def test_no_class_is_an_ancestor_of_another(synsets):
    ancestors = {
        label: set(synset.closure(lambda node: node.hypernyms()))
        for label, synset in synsets.items()
    }
    assert all(synsets[a] not in ancestors[b] for a, b in permutations(synsets, 2))
