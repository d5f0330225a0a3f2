"""Files are there whole or not at all, and their damage is noticed."""

import errno
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kfr.errors import DataError
from kfr.files import json_text, write_json, write_whole


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_and_its_folders_are_made(tmp_path):
    write_whole(tmp_path / "a" / "b" / "file.txt", "Šárka\n")
    assert (tmp_path / "a" / "b" / "file.txt").read_bytes() == "Šárka\n".encode()
    assert len(list((tmp_path / "a" / "b").iterdir())) == 1


def test_a_file_may_be_read_by_others_as_the_umask_says(tmp_path):
    write_whole(tmp_path / "file", b"")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask


def test_json_has_null_for_numbers_that_it_lacks_and_any_letters(tmp_path):
    value = {"Šárka": [math.nan, 1.5, math.inf, (-math.inf, None)], "at": tmp_path}
    plain = {"Šárka": [None, 1.5, None, [None, None]], "at": str(tmp_path)}
    write_json(tmp_path / "file.json", value)
    text = (tmp_path / "file.json").read_text("utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == plain
    assert text == json_text(value) + "\n"
    assert text.startswith('{\n  "Šárka": [\n    null,\n    1.5,')
    assert json_text([1, math.nan], indent=None) == "[1, null]"


@pytest.mark.parametrize(
    ("owner", "step"),
    [
        (tempfile, "mkstemp"),
        (os, "fdopen"),
        (os, "fsync"),
        (Path, "chmod"),
        (Path, "replace"),
    ],
)
def test_when_a_step_fails_the_old_file_is_untouched(
    tmp_path, monkeypatch, owner, step
):
    path = tmp_path / "file"
    write_whole(path, "old")
    monkeypatch.setattr(owner, step, no_space)
    with pytest.raises(DataError, match=rf"cannot write {path}: No space.*MiB free\)"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["write", "flush", "close"])
def test_when_a_write_fails_half_way_the_old_file_is_untouched(
    tmp_path, monkeypatch, step
):
    opened = os.fdopen

    def failing(*args):
        file = opened(*args, buffering=0) if step == "write" else opened(*args)
        return Failing(file, step)

    path = tmp_path / "file"
    write_whole(path, "old")
    monkeypatch.setattr(os, "fdopen", failing)
    with pytest.raises(DataError, match="No space left"):
        write_whole(path, "new content")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


class Failing:
    """A file of which one step fails after half of the work."""

    def __init__(self, file, step):
        self.file, self.step = file, step

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        if self.step == "close":
            no_space()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, content):
        self.file.write(content[: len(content) // 2])
        if self.step == "write":
            no_space()
        self.file.write(content[len(content) // 2 :])

    def flush(self):
        if self.step == "flush":
            no_space()
        self.file.flush()


def test_when_the_folder_cannot_be_flushed_the_file_is_whole_all_the_same(
    tmp_path, monkeypatch
):
    path = tmp_path / "file"
    write_whole(path, "old")
    real, calls = os.fsync, []

    def second_fails(handle):
        calls.append(handle)
        return real(handle) if len(calls) == 1 else no_space()

    monkeypatch.setattr(os, "fsync", second_fails)
    with pytest.raises(DataError, match="No space left"):
        write_whole(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_no_stub(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "file", "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file/below", "folder", "x" * 300])
def test_a_place_where_no_file_can_be_is_named(tmp_path, place):
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=f"cannot write {tmp_path / place}: "):
        write_whole(tmp_path / place, "new")
    assert {p.name for p in tmp_path.iterdir()} == {"file", "folder"}


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX modes")
def test_a_read_only_folder_is_named_with_the_space_that_is_free(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("old")
    folder.chmod(0o555)
    # Root may write anywhere: give that up, in a process of its own.
    code = (
        "import os, sys; from pathlib import Path; from kfr.files import write_whole\n"
        "if not os.geteuid(): os.setegid(65534); os.seteuid(65534)\n"
        "write_whole(Path(sys.argv[1]), 'new')"
    )
    for parent in [folder, *folder.parents][1:-2]:
        parent.chmod(parent.stat().st_mode | 0o111)
    done = python(code, folder / "file")
    folder.chmod(0o755)
    assert "DataError: cannot write" in done.stderr
    assert f"{folder}/file: Permission denied (" in done.stderr
    assert "MiB free)" in done.stderr
    assert [p.read_text() for p in folder.iterdir()] == ["old"]


def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path):
    write_whole(tmp_path / "file", "old")
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from kfr.files import write_whole\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "write_whole(Path(sys.argv[1]), bytes(10_000))"
    )
    done = python(code, tmp_path / "file")
    assert f"DataError: cannot write {tmp_path}/file: File too large" in done.stderr
    assert "MiB free)" in done.stderr
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
