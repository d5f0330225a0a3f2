import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfr.strings import Strings

TEXTS = ["cat", "", "Šárka", "猫", "a\tb\nc", "🐱"]


def test_what_goes_in_comes_out():
    assert list(Strings.of(TEXTS)) == TEXTS
    assert [Strings.of(TEXTS)[i] for i in range(len(TEXTS))] == TEXTS


@given(st.lists(st.text()))
def test_any_texts_come_out_as_they_went_in(texts):
    assert list(Strings.of(texts)) == texts
    assert len(Strings.of(texts)) == len(texts)


def test_nothing_is_a_sequence_too():
    assert list(Strings.of([])) == []
    assert list(Strings.joined(b"", b"\n")) == []
    assert list(Strings.of([]).take(np.array([], np.int64))) == []


def test_positions_count_from_the_end_as_in_a_list_and_stop_at_it():
    strings = Strings.of(TEXTS)
    assert [strings[-i] for i in (1, 2, 6)] == ["🐱", "a\tb\nc", "cat"]
    for beyond in (6, -7):
        with pytest.raises(IndexError):
            strings[beyond]


@given(st.lists(st.text(), min_size=1), st.lists(st.integers(0, 10**6)))
def test_take_is_a_list_of_what_stands_there(texts, at):
    at = [i % len(texts) for i in at]
    taken = Strings.of(texts).take(np.array(at, np.int64))
    assert list(taken) == [texts[i] for i in at]


def test_joined_takes_a_blob_apart_at_its_separator():
    assert list(Strings.joined("é\n\ncat\n".encode(), b"\n")) == ["é", "", "cat"]


def test_the_index_says_where_a_text_stands():
    assert Strings.of(["cat", "dog"]).index == {"cat": 0, "dog": 1}


def test_a_pickle_holds_the_arrays_and_not_the_index():
    strings = Strings.of(TEXTS)
    before = len(pickle.dumps(strings))
    assert strings.index["猫"] == 3
    assert len(pickle.dumps(strings)) == before
    assert list(pickle.loads(pickle.dumps(strings))) == TEXTS
