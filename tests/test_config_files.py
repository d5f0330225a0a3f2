"""Configurations are read back from the TOML they are written as."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfr.config import ConfigError, Phase, RunConfig
from kfr.errors import KfrError, MissingError
from kfr.plugins import Plugin
from kfr.settings import read_toml, run_config, write_toml

LEAST = {"dataset": "shapes", "hierarchy": "wordnet"}


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def again(run: RunConfig) -> RunConfig:
    return run_config(tomllib.loads(run.to_toml()))


FULL = {
    **LEAST,
    "data_root": Path('/data/Šárka "x" \\ 🐱 \x7f'),
    "mapping": "own, mapping.csv",
    "objective": ["cross_entropy", "qtr,alpha=3"],
    "phase": [
        {"epochs": 2},
        {"epochs": 1, "objective": ["qtr", "mine.py:loss,by=2"], "rate": 1e-05},
    ],
    "clip": 1e16,
    "patience": 2,
    "channels_last": False,
}


def test_a_configuration_is_read_back_from_its_file():
    run = run_config(FULL)
    assert again(run) == run
    assert again(run_config(LEAST)) == run_config(LEAST)


def test_what_is_not_set_is_not_written():
    assert "clip" not in run_config(LEAST).to_toml()
    assert 'backbone = "small"' in run_config(LEAST).to_toml()


@pytest.mark.parametrize(
    "options",
    [
        {"classes": "cat, dog"},
        {"width": 32, "dropout": 0.5, "bias": True},
        {"blocks": [2, 2], "names": ["a", "b,c"]},
        {"only": [3]},
        {"text": " padded "},
        {"text": 'a "b" \\ é 🐱\n'},
        {"nested": {"a": [1, {"b": "c,d"}]}},
        {"empty": "", "none": []},
    ],
    ids=str,
)
def test_options_of_every_type_are_read_back(options):
    mine = Plugin(name="mine.py:net", options=options)
    phase = Phase(epochs=1, objective=(mine, Plugin(name="qtr")))
    run = RunConfig(**LEAST, backbone=mine, objective=(mine,), phase=(phase,))
    assert again(run) == run


def test_a_name_with_a_comma_is_read_back():
    run = RunConfig(**LEAST, head=Plugin(name="a,b.py:head"))
    assert again(run) == run


@given(st.dictionaries(st.sampled_from(["a", "b"]), st.text() | st.floats(
    allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1)),
    st.text())  # fmt: skip
def test_any_options_and_texts_are_read_back(options, text):
    run = RunConfig(**LEAST, head=Plugin(name="linear", options=options), mapping=text)
    assert again(run) == run


def test_part_of_a_configuration_is_written_and_read(tmp_path):
    values = {"hierarchy": "a, b.txt", "add_root": True, "mapping": None}
    write_toml(values, tmp_path / "part.toml")
    assert read_toml(tmp_path / "part.toml") == {
        "hierarchy": "a, b.txt",
        "add_root": True,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epochs = \n", "Invalid value (at line 1"),
        ("epochs = 1\nepochs = 2\n", "Cannot overwrite a value (at line 2"),
        ("epoch = 1\n", "a run has no 'epoch' (did you mean 'epochs'?)"),
        ("[backbone]\nnam = 'x'\n", "backbone.name = {'nam': 'x'}: Field required"),
        (
            "epochs = -1\nrate = 0\n",
            "epochs = -1: Input should be greater than or equal to 0; rate",
        ),
        ("[[phase]]\nepochs = 1\nrat = 2\n", "phase.0.rat = 2"),
        (b"mapping = 'caf\xe9'\n", ":1: byte 14 (0xe9) is not UTF-8"),
        ("epochs = 1".encode("utf-16"), "UTF-16"),
        ("phase = " + "[" * 10_000, "recursion"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, message):
    path = written(tmp_path / "run.toml", content)
    with pytest.raises(ConfigError, match=re.escape(message)) as raised:
        read_toml(path)
    assert str(raised.value).startswith(str(path))


def test_a_file_may_begin_with_a_mark_and_have_any_line_ends(tmp_path):
    path = written(tmp_path / "run.toml", "\ufeffepochs = 1\r\nseed = 2\r\n")
    assert read_toml(path) == {"epochs": 1, "seed": 2}


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(MissingError, match=f"no configuration file {tmp_path}/no.toml"):
        read_toml(tmp_path / "no.toml")
    with pytest.raises(ConfigError, match=f"cannot read {tmp_path}: Is a directory"):
        read_toml(tmp_path)


@given(
    st.binary(max_size=30)
    | st.lists(
        st.sampled_from(
            ["epochs", "phase", "head", "=", "[", "]", '"a"', "1", "\n", "."]
        )
    ).map("".join)
)
def test_whatever_a_file_holds_only_our_errors_escape(tmp_path, content):
    path = written(tmp_path / "run.toml", content)
    try:
        values = read_toml(path)
    except KfrError:
        return
    assert set(values) <= set(RunConfig.model_fields)
