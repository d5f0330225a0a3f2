"""Pictures: what is drawn, and that they are there whole or not at all."""

from pathlib import Path

import numpy as np
import pytest
import zoo
from PIL import Image

from kfr import Hierarchy, LabelMapping, build_knowledge
from kfr.errors import DataError
from kfr.figures import dendrogram_order, distance_map, new_figure, saved, svg

FORMS = {"a.png": b"\x89PNG", "a.PNG": b"\x89PNG", "a": b"\x89PNG", "a.pdf": b"%PDF"}


def test_near_classes_stand_together_and_join_first():
    distances = np.array([[0, 4, 2.0], [4, 0, 4], [2, 4, 0]])
    order, joins = dendrogram_order(distances)
    assert abs(order.tolist().index(0) - order.tolist().index(2)) == 1
    assert joins[:, 2].tolist() == [2.0, 4.0]
    assert dendrogram_order(np.zeros((1, 1)))[0].tolist() == [0]


def test_a_distance_map_has_the_colours_of_the_distances(tmp_path):
    distance_map(zoo.known(), tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as image:
        seen = {colour for _, colour in image.convert("RGB").getcolors(1 << 20)}
    assert {(68, 1, 84), (253, 231, 36)} <= seen  # the ends of viridis


@pytest.mark.parametrize(("name", "start"), FORMS.items())
def test_the_suffix_says_the_form_and_folders_are_made(tmp_path, name, start):
    saved(new_figure(1, 1), tmp_path / "new" / name)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]
    assert (tmp_path / "new" / name).read_bytes().startswith(start)


def test_an_unknown_form_is_refused_and_a_folder_in_the_way_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot draw .*a\.xyz"):
        saved(new_figure(1, 1), tmp_path / "a.xyz")
    with pytest.raises(DataError, match=f"cannot write {tmp_path}"):
        saved(new_figure(1, 1), tmp_path)
    assert list(Path(tmp_path).iterdir()) == []


def test_letters_that_no_font_has_are_no_reason_to_warn(tmp_path):
    nodes = {"猫": "cat", "狗": "dog"}
    tree = Hierarchy.from_pairs(zoo.PAIRS)
    known = build_knowledge(tree, LabelMapping(dataset="zoo", nodes=nodes))
    distance_map(known, tmp_path / "map.png")
    figure = new_figure(1, 1)
    figure.suptitle("猫")
    assert svg(figure) == svg(figure)
