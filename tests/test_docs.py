"""The manual's examples run, in order, each page in a folder of its own."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
KFR = Path(sys.executable).with_name("kfr")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_example_of_the_manual_runs(page, tmp_path, monkeypatch):
    monkeypatch.setenv("KFR_CACHE", str(tmp_path / "cache"))
    for language, text in BLOCK.findall(page.read_text("utf-8")):
        commands = [[sys.executable, "-c", text]]
        if language == "sh":
            lines = [shlex.split(line) for line in text.splitlines() if line]
            assert {line[0] for line in lines} == {"kfr"}
            commands = [[KFR, *line[1:]] for line in lines]
        for command in commands:
            done = subprocess.run(
                command, cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def test_the_readme_names_only_commands_that_exist():
    text = (ROOT / "README.md").read_text("utf-8")
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    used = set(re.findall(r"^kfr ([a-z]+)", blocks, re.MULTILINE))
    assert used
    for name in used:
        subprocess.run([KFR, name, "--help"], capture_output=True, check=True)


def test_the_links_between_pages_lead_somewhere():
    for page in [ROOT / "README.md", *PAGES]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
