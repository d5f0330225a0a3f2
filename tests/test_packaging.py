import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"kfr": "kfr", "kfr/cli": "cli"} | {
    f"kfr/{name}": name for name in ("hierarchies", "mappings")
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """A wheel built from a copy of the checkout."""
    here = tmp_path_factory.mktemp("wheel")
    for folder in FOLDERS.values():
        shutil.copytree(
            ROOT / folder, here / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, here)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "."]
    done = subprocess.run(
        command, cwd=here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (built,) = here.glob("dist/*.whl")
    return zipfile.ZipFile(built)


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    wheel.extractall(folder)
    return folder


def test_the_wheel_claims_one_name(wheel):
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"kfr"}


def test_the_wheel_holds_every_file(wheel):
    names = set(wheel.namelist())
    for inside, folder in FOLDERS.items():
        files = [p for p in (ROOT / folder).rglob("*") if p.is_file()]
        expected = {
            f"{inside}/{p.relative_to(ROOT / folder).as_posix()}"
            for p in files
            if "__pycache__" not in p.parts
        }
        assert expected <= names


def test_the_wheel_holds_both_licences_and_no_photographs(wheel):
    names = wheel.namelist()
    for licence in ("LICENSE", "WORDNET-LICENSE.txt"):
        assert any(n.endswith(licence) and ".dist-info" in n for n in names)
    assert not [n for n in names if n.endswith((".jpg", ".webp", ".png", ".bin"))]


def test_the_unpacked_wheel_works_on_its_own(unpacked, tmp_path):
    """WordNet, a bundled mapping and the command line, from the wheel's files only."""
    code = (
        "import sys, kfr; from importlib import import_module\n"
        "assert kfr.__file__.startswith(sys.argv[1]), kfr.__file__\n"
        "wordnet = kfr.plugins.make('source', 'wordnet', None)\n"
        "mapping = kfr.LabelMapping.bundled('cifar10')\n"
        "print(len(kfr.build_knowledge(wordnet, mapping).labels))\n"
        "import_module('kfr.cli')\n"
    )
    done = subprocess.run(
        # -S would lose the dependencies; the wheel's folder goes before the checkout's
        [sys.executable, "-c", f"import sys; sys.path.insert(0, sys.argv[1])\n"
         "sys.meta_path = [f for f in sys.meta_path if 'editable' not in str(f)]\n"
         f"import kfr.plugins\n{code}", str(unpacked)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "10\n"


def test_the_constraints_name_no_place_to_download_from():
    text = (ROOT / "constraints.txt").read_text()
    lines = [line for line in text.splitlines() if line and line[0] != "#"]
    assert lines
    assert all("==" in line and "/" not in line for line in lines)
