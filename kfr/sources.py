"""Which plug-in reads a hierarchy, and from where."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kfr import plugins
from kfr.errors import MissingError
from kfr.hierarchy import Hierarchy
from kfr.plugins import BUILTIN, Plugin

BY_SUFFIX = {".csv": "text", ".edges": "text", ".tsv": "text", ".txt": "text"}


@dataclass(frozen=True)
class Source:
    """A source plug-in and the path it reads, if any."""

    plugin: Plugin
    path: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `wordnet`, `custom.txt`, or `text,path=custom.dat,order=child-parent`.

        An existing path picks its source by its suffix; anything else is the name of
        a source.

        Raises:
            MissingError: it looks like a path, and nothing is there.
            PluginError: no source is called so.
        """
        if Path(text).exists():
            return cls(Plugin(name=_source_of(Path(text))), Path(text))
        plugin = Plugin.parse(text)
        chosen = dict(plugin.options)
        path = Path(str(chosen.pop("path"))) if "path" in chosen else None
        if Path(plugin.name).exists():
            path = Path(plugin.name)
            return cls(Plugin(name=_source_of(path), options=chosen), path)
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
        if self.plugin.options or _source_of(self.path) != self.plugin.name:
            options = {**self.plugin.options, "path": str(self.path)}
            return str(Plugin(name=self.plugin.name, options=options))
        return str(self.path)

    def load(self) -> Hierarchy:
        """Read the hierarchy."""
        hierarchy: Hierarchy = plugins.make("source", self.plugin, self.path)
        return hierarchy

    def content(self) -> str:
        """Return a text that changes when another hierarchy would be read."""
        return f"{plugins.identity('source', self.plugin)} {_digest(self.path)}"


def _source_of(path: Path) -> str:
    return BY_SUFFIX.get(path.suffix.lower(), "text")


def _looks_like_path(name: str) -> bool:
    return ":" not in name and ("/" in name or "." in name)


def _digest(path: Path | None) -> str:
    """Return a digest of a file, or of all the files below a folder."""
    if path is None or not path.exists():
        return str(path)
    files = (
        [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    )
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(path.parent)}\n".encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
