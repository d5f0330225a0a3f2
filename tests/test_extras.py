import ast
import json
import sys
import tomllib
from pathlib import Path

import pytest

from kfr.errors import MissingError
from kfr.extras import package

ROOT = Path(__file__).parents[1]


def test_a_package_that_is_there_is_imported():
    assert package("json", "any") is json


@pytest.mark.parametrize(
    ("module", "called", "name"), [("x.y", "", "x"), ("x", "the-x", "the-x")]
)
def test_one_that_is_not_is_named_with_the_extra_that_brings_it(
    monkeypatch, module, called, name
):
    monkeypatch.setitem(sys.modules, "x", None)
    with pytest.raises(MissingError) as caught:
        package(module, "some", called=called)
    assert str(caught.value) == f"{name} is not installed: pip install 'kfr[some]'"


def test_every_extra_brings_what_some_module_asks_for():
    files = [p for d in ("kfr", "hierarchies") for p in (ROOT / d).rglob("*.py")]
    nodes = [n for p in files for n in ast.walk(ast.parse(p.read_text("utf-8")))]
    asked = {
        ast.literal_eval(node.args[1])
        for node in nodes
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in {"package", "not_installed"}
        and isinstance(node.args[1], ast.Constant)
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert asked == project["optional-dependencies"].keys()
