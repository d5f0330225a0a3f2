"""Which plug-in reads a hierarchy, and from where."""

import glob
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kfr import plugins
from kfr.errors import MissingError, UsageError
from kfr.formats import source_of
from kfr.hierarchy import Hierarchy
from kfr.plugins import BUILTIN, Plugin

_URL = re.compile(r"(?:^|[^=]*,path=)[A-Za-z][A-Za-z0-9+.-]+://")
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Source:
    """A source plug-in and the path it reads, if any."""

    plugin: Plugin
    path: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `wordnet`, `custom.txt`, or `text,path=custom.dat,order=child-parent`.

        An existing path, or a pattern such as `onto/*.ttl`, picks its source by its
        suffix and first lines (`kfr.formats`); anything else is the name of a source,
        and so is `wordnet` beside a folder called so: that is `./wordnet`.

        Raises:
            MissingError: it looks like a path, and nothing is there.
            PluginError: no source is called so.
            UsageError: it is a URL; kfr downloads none.
        """
        if _URL.search(text):
            raise UsageError(
                f"{text!r} is a URL: kfr reads no hierarchy from elsewhere; download "
                "it, look at it, and give the file"
            )
        if text not in BUILTIN["source"] and _there(text):
            return cls(Plugin(name=source_of(Path(text))), Path(text))
        plugin = Plugin.parse(text)
        chosen = dict(plugin.options)
        path = Path(str(chosen.pop("path"))) if "path" in chosen else None
        if plugin.name not in BUILTIN["source"] and _there(plugin.name):
            path = Path(plugin.name)
            return cls(Plugin(name=source_of(path), options=chosen), path)
        if plugin.name not in BUILTIN["source"] and _looks_like_path(plugin.name):
            raise MissingError(
                f"there is no hierarchy file {plugin.name!r}; give a file, or one of "
                f"the sources {', '.join(BUILTIN['source'])}"
            )
        found = cls(Plugin(name=plugin.name, options=chosen), path)
        plugins.check("source", found.plugin)
        return found

    def __str__(self) -> str:
        """Return a text that `parse` reads back."""
        if self.path is None:
            return str(self.plugin)
        if self.plugin.options or source_of(self.path) != self.plugin.name:
            options = {**self.plugin.options, "path": str(self.path)}
            return str(Plugin(name=self.plugin.name, options=options))
        return str(self.path)

    def load(self) -> Hierarchy:
        """Read the hierarchy."""
        hierarchy: Hierarchy = plugins.make("source", self.plugin, self.path)
        return hierarchy

    def content(self) -> str | None:
        """Return a text that changes when another hierarchy would be read.

        None if only reading it can tell: it comes from somewhere that kfr cannot see.
        """
        identity = plugins.identity("source", self.plugin)
        # A folder's names are read faster than the images in it.
        seen = self.plugin.name != "folder"
        if seen and self.path is not None and self.path.exists():
            return f"{identity} {_digest(self.path)}"
        return identity if self.plugin.name == "wordnet" else None


def _there(path: str) -> bool:
    """Tell if there is such a path, or one that matches it."""
    try:
        return Path(path).exists() or bool(
            _WILD.search(path) and glob.glob(path, recursive=True)  # noqa: PTH207
        )
    except (OSError, ValueError):  # too long for a path, or with a NUL
        return False


def _looks_like_path(name: str) -> bool:
    return ":" not in name and ("/" in name or "." in name)


def _digest(path: Path) -> str:
    """Return a digest of a file, or of all the files below a folder."""
    files = (
        [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    )
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(path.parent)}\n".encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
