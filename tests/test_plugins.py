"""Any replaceable part is found by name; what is wrong with it is said."""

import inspect
import sys
from pathlib import Path

import pytest

from kfr import plugins
from kfr.errors import PluginError
from kfr.plugins import BUILTIN, Plugin

MEMBER = {"pml:": "pml:TripletMarginLoss"}  # of a family that is asked at once
TABLE = [(kind, MEMBER.get(name, name)) for kind in BUILTIN for name in BUILTIN[kind]]


@pytest.fixture
def mine(tmp_path):
    """Write a plug-in file: `mine(code)` returns its path."""

    def write(code: str, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.write_text(code)
        return path

    return write


# What ships with kfr


@pytest.mark.parametrize(("kind", "name"), TABLE)
def test_every_builtin_exists_and_is_described(kind, name):
    assert inspect.getdoc(plugins.find(kind, name))


@pytest.mark.parametrize(("kind", "name"), TABLE)
def test_every_option_of_a_builtin_has_a_type_and_a_default_that_fits(kind, name):
    offered = plugins.options(plugins.find(kind, name))
    for option in offered.values():
        assert option.annotation is not option.empty
    spelt_out = {n: o.default for n, o in offered.items() if o.default is not o.empty}
    if len(spelt_out) == len(offered):
        given = {n: value for n, value in spelt_out.items() if value is not None}
        plugins.check(kind, Plugin(name=name, options=given))


def test_names_are_in_order():
    for kind, table in BUILTIN.items():
        assert list(table) == sorted(table), kind


# The text form


def test_text_form_reads_like_the_table_form():
    table = Plugin(name="qtr", options={"alpha": "20", "ell": "1.2"})
    assert Plugin.parse("qtr,alpha=20,ell=1.2") == table
    assert Plugin.parse(" qtr , alpha = 20,ell= 1.2") == table
    assert Plugin.parse(table) == table
    assert str(table) == "qtr,alpha=20,ell=1.2"


def test_options_are_printed_in_a_fixed_order():
    assert str(Plugin.parse("x,b=2,a=1=1")) == "x,a=1=1,b=2"


def test_what_no_text_can_say_is_written_as_a_table():
    assert Plugin.parse("x,a=1").written() == "x,a=1"
    for options in ({"a": 1}, {"a": "b,c"}, {"a": " "}, {"a": [1]}):
        table = {"name": "x", "options": options}
        assert Plugin(name="x", options=options).written() == table


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("qtr,alpha", "'alpha' is not of the form key=value in 'qtr,alpha'"),
        ("qtr,alpha=1,alpha=2", "'alpha' is given twice"),
    ],
)
def test_a_text_that_is_no_plugin_is_refused(text, message):
    with pytest.raises(PluginError, match=message):
        Plugin.parse(text)


# Options


def test_options_are_checked_against_the_signature(pets):
    assert plugins.make("weighting", "uniform,k=0.25", pets).tolist() == [0.25] * 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unifrom", "no weighting is called 'unifrom'.*did you mean 'uniform'"),
        ("", "no weighting is called ''; choose one of .*uniform"),
        ("uniform,kk=1", "uniform has no option 'kk'.*did you mean 'k'.*it takes k"),
        ("uniform,k=0", "uniform: k='0': Input should be greater than 0"),
        ("uniform,k=many", "uniform: k='many': Input should be a valid number"),
        ("uniform,k=inf", "uniform: k='inf': Input should be a finite number"),
        ("nowhere:f", "cannot import nowhere: nowhere is missing"),
        ("kfr.nowhere:f", "cannot import kfr.nowhere: kfr.nowhere is missing"),
        (".weights:uniform", "cannot import .weights: a module is named in full"),
        ("kfr.weights:missing", "kfr.weights has no 'missing' to use as weighting"),
        ("kfr.weights:", "kfr.weights has no ''"),
        ("kfr.plugins:BUILTIN", "kfr.plugins:BUILTIN is no weighting"),
        ("nowhere.py:f", "there is no file .*nowhere.py"),
        ("kfr.weights:linear", "does not fit: as a weighting it is given 1 positional"),
    ],
)
def test_a_wrong_plugin_says_how_to_put_it_right(pets, text, message):
    with pytest.raises(PluginError, match=message):
        plugins.make("weighting", text, pets)


def test_a_plugin_can_be_checked_without_being_made():
    plugins.check("weighting", "uniform,k=2")
    with pytest.raises(PluginError, match="k='-2'"):
        plugins.check("weighting", "uniform,k=-2")


def test_an_option_without_a_default_must_be_given(mine):
    path = mine("def f(*, by: int):\n    return by\n")
    assert plugins.make("transform", f"{path}:f,by=3") == 3
    with pytest.raises(PluginError, match="needs the option 'by': write .*,by="):
        plugins.make("transform", f"{path}:f")


def test_an_option_may_have_any_name_and_need_have_no_type(mine):
    path = mine(
        "def f(*, copy: bool = True, json=None, schema: int = 1, dict='', _x=0):\n"
        "    return copy, json, schema, dict, _x\n"
    )
    text = f"{path}:f,copy=no,json=a,schema=7,dict=d,_x=1"
    assert plugins.make("transform", text) == (False, "a", 7, "d", "1")
    assert plugins.make("transform", f"{path}:f") == (True, None, 1, "", 0)


def test_a_name_with_a_colon_is_given_to_the_part_it_begins_with():
    plugin = Plugin.parse("timm:resnet18.a1_in1k,pretrained=true")
    assert plugin.name == "timm:resnet18.a1_in1k"
    assert str(plugin) == "timm:resnet18.a1_in1k,pretrained=true"
    plugins.check("backbone", plugin)
    with pytest.raises(PluginError, match="timm:x has no option 'by'.*pretrained"):
        plugins.check("backbone", "timm:x,by=1")
    assert plugins.identity("backbone", "timm:x") == "timm:x(pretrained=False)"


# Plug-ins of one's own


def test_a_file_is_enough_to_add_a_plugin(pets, mine):
    path = mine(
        "import numpy as np\n"
        "def heavy(hierarchy, *, by: float = 2.0):\n"
        "    return np.full(len(hierarchy.parents), by)\n"
    )
    weights = plugins.make("weighting", f"{path}:heavy,by=3", pets)
    assert weights.tolist() == [3.0] * 5


def test_a_plugin_may_be_a_class_with_postponed_types(mine):
    path = mine(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Scale:\n"
        "    _: int = 0\n"
        "    def __init__(self, *, by: float = 2.0) -> None:\n"
        "        self.by = by\n"
        "    def __call__(self, total): return self.by * total\n"
    )
    assert plugins.make("transform", f"{path}:Scale,by=3")(2) == 6
    assert plugins.identity("transform", f"{path}:Scale").startswith(
        f"{path}:Scale(by=2.0)#"
    )


def test_files_of_one_name_in_two_folders_are_two(tmp_path, monkeypatch):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(f"def f():\n    return {name!r}\n")
        monkeypatch.chdir(tmp_path / name)
        assert plugins.make("transform", "mine.py:f") == name


def test_a_file_that_cannot_be_imported_says_why(mine):
    broken = mine("def f(:\n")
    with pytest.raises(PluginError, match=r"cannot import .*mine.py: invalid syntax"):
        plugins.find("transform", f"{broken}:f")
    lacking = mine("import nowhere_at_all\n", "lacking.py")
    with pytest.raises(PluginError, match="nowhere_at_all is missing"):
        plugins.find("transform", f"{lacking}:f")
    assert not [name for name in sys.modules if name.endswith("lacking.py")]


def test_a_fault_in_a_plugin_is_shown_with_its_own_traceback(mine):
    with pytest.raises(ZeroDivisionError):
        plugins.find("transform", f"{mine('1 / 0')}:f")


# Identity


def test_the_identity_of_a_builtin_is_its_name_and_all_its_options():
    identity = plugins.identity
    assert identity("weighting", "uniform") == "uniform(k=1.0)"
    assert identity("weighting", "uniform,k=1") == identity("weighting", "uniform")
    assert identity("weighting", "uniform,k=2") == "uniform(k=2.0)"


def test_the_identity_changes_with_the_file_and_with_the_options(mine):
    def identities(code, name):
        path = mine(code, name)
        texts = (f"{path}:f", f"{path}:f,by=3")
        return [plugins.identity("transform", t).replace(name, "") for t in texts]

    code = "def f(*, by: float = 2.0):\n    return lambda total: by * total\n"
    one, same = identities(code, "one.py"), identities(code, "same.py")
    other = identities(code + "# changed\n", "other.py")
    assert one == same
    assert len({*one, *other}) == 4


def test_the_identity_is_that_of_the_file_where_the_code_is(tmp_path, monkeypatch):
    package = tmp_path / "reexporting"
    package.mkdir()
    (package / "__init__.py").write_text("from .inner import f\n")
    (package / "inner.py").write_text("def f():\n    return abs\n")
    monkeypatch.syspath_prepend(tmp_path)
    direct = plugins.identity("transform", "reexporting.inner:f")
    assert plugins.identity("transform", "reexporting:f").endswith(direct[-65:])


def test_a_wrapped_function_and_a_callable_object_have_an_identity(mine):
    path = mine(
        "import functools\n"
        "def f(*, by: float = 2.0): return by\n"
        "@functools.wraps(f)\n"
        "def wrapped(**options): return f(**options)\n"
        "partial = functools.partial(f)\n"
    )
    for name in ("wrapped", "partial"):
        assert "(by=2.0)#" in plugins.identity("transform", f"{path}:{name}")
    ends = {
        plugins.identity("transform", f"{path}:{n}")[-64:] for n in ("f", "partial")
    }
    assert len(ends) == 1
