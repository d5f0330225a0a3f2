"""Nested folders: each is a node below the one it is in; the files do not count."""

import os
from pathlib import Path

from kfr.branches import TOP, Branches
from kfr.errors import HierarchyError, MissingError
from kfr.hierarchy import Hierarchy

from . import reading


def load(path: Path | None, *, root: str = "") -> Hierarchy:
    """Read a folder; nodes are called by name, or by path where that is not unique.

    The topmost node is the folder itself, or called `root`. Hidden folders are left
    out; a link to a folder is a node, but is not followed.

    Raises:
        HierarchyError: there is no folder in it.
        MissingError: it is no folder, or cannot be read.
    """
    (path, *others) = reading.files(path, "folder")
    if others or not path.is_dir():
        raise MissingError(f"the source 'folder' needs one folder; {path} is none")
    branches = Branches(str(path))
    places = {str(path): branches.add(root or path.resolve().name or "/", TOP)}
    for here, inside, _ in os.walk(path, onerror=_refuse):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        above = places.pop(here)
        for name in inside:
            below = branches.add(name, above)
            if not Path(here, name).is_symlink():
                places[str(Path(here, name))] = below
    if len(branches) == 1:
        raise HierarchyError(f"{path}: there is no folder in it")
    return branches.hierarchy(qualify=True)


def _refuse(error: OSError) -> None:
    raise MissingError(f"cannot read {error.filename}: {error.strerror}") from None
