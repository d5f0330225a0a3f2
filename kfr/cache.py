"""Knowledge built once and found again: the cache on disk.

An entry is named by a digest of all that went into it - the content of the files, the
settings and the format version - so it is never stale. Several processes may ask for
the same entry at once: one builds, the others wait for it.
"""

import functools
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from filelock import FileLock

from kfr import plugins
from kfr.errors import DataError
from kfr.hierarchy import Hierarchy
from kfr.knowledge import FORMAT, AnyPlugin, Knowledge, build_knowledge
from kfr.knowledge import load_knowledge as load_file
from kfr.knowledge import save_knowledge as save_file
from kfr.mapping import LabelMapping, bundled_names, resolve
from kfr.sources import Source

log = logging.getLogger("kfr")


def cache_folder() -> Path:
    """Return the folder of the cache: `$KFR_CACHE`, else the platform's."""
    chosen = os.environ.get("KFR_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("kfr"))


def entries() -> list[Path]:
    """Return the files in the cache, newest last."""
    found = cache_folder().glob("knowledge/*.safetensors")
    return sorted(found, key=lambda path: path.stat().st_mtime)


def clear() -> int:
    """Empty the cache and return how many entries there were."""
    found = entries()
    for path in found:
        path.unlink(missing_ok=True)
    for lock in cache_folder().glob("knowledge/*.lock"):
        lock.unlink(missing_ok=True)
    return len(found)


def described(path: Path) -> dict[str, object]:
    """Return what an entry holds."""
    try:
        knowledge = load_file(path)
    except DataError as error:
        return {"entry": path.stem[:12], "what": str(error), "classes": 0, "KiB": 0}
    what = f"{knowledge.settings.get('dataset')}, {knowledge.settings.get('distance')}"
    size = round(path.stat().st_size / 1024)
    classes = len(knowledge.labels)
    return {"entry": path.stem[:12], "what": what, "classes": classes, "KiB": size}


def cached(key: str, build: Callable[[], Knowledge]) -> Knowledge:
    """Return the entry called `key`, built first if it is not there or is damaged."""
    path = cache_folder() / "knowledge" / f"{key}.safetensors"
    with _locked(path.with_suffix(".lock")):
        if path.exists():
            try:
                return load_file(path)
            except DataError as error:
                log.warning("%s; building it again", error)
        knowledge = build()
        save_file(knowledge, path)
    return knowledge


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The lock is the operating system's: it falls when a process that holds it dies.
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise DataError(
            f"cannot use the cache {path.parent}: {error.strerror or error}; set "
            "KFR_CACHE to a folder that can be written"
        ) from None
    try:
        yield
    finally:
        lock.release()


def known(
    source: Source,
    dataset: str,
    labels: Sequence[str] | None = None,
    *,
    mapping: str | None = None,
    weighting: AnyPlugin = "uniform",
    transform: AnyPlugin = "linear",
    distance: AnyPlugin = "path",
    add_root: bool = False,
    cache: bool = True,
) -> Knowledge:
    """Return the knowledge of `labels` under the hierarchy that `source` names.

    Without labels, every leaf of the hierarchy is a class. `mapping` is as in
    `kfr.mapping.resolve`; `add_root` joins several roots under one.

    Raises:
        KfrError: whatever reading, mapping or measuring finds wrong.
    """
    read = functools.cache(source.load)

    def build() -> Knowledge:
        hierarchy = rooted(read()) if add_root else read()
        classes = labels or [hierarchy.nodes[i] for i in hierarchy.leaves.tolist()]
        return build_knowledge(
            hierarchy,
            resolve(classes, hierarchy, dataset, mapping),
            weighting=weighting,
            transform=transform,
            distance=distance,
        )

    parts = [
        FORMAT,
        source.content() or [str(source), _content(read())],
        dataset,
        labels,
        _mapping_content(dataset, mapping),
        plugins.identity("weighting", weighting),
        plugins.identity("transform", transform),
        plugins.identity("distance", distance),
        add_root,
    ]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    return cached(key, build) if cache else build()


def rooted(hierarchy: Hierarchy) -> Hierarchy:
    """Return the graph with several roots joined under one; else as it is."""
    if len(hierarchy.roots) < 2:  # noqa: PLR2004
        return hierarchy
    name = "root"
    while name in hierarchy.nodes.index:
        name = f"({name})"
    return hierarchy.with_root(name)


def _content(hierarchy: Hierarchy) -> str:
    """Return a text that changes with everything that an entry keeps of a graph."""
    texts = (hierarchy.nodes, hierarchy.names, hierarchy.glosses)
    content = [hierarchy.fingerprint, *(list(strings or ()) for strings in texts)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _mapping_content(dataset: str, mapping: str | None) -> str:
    """Return a text that changes with what the labels would be taken to mean."""
    if mapping and mapping != "index":
        path = Path(mapping)
        return path.read_text("latin-1") if path.is_file() else mapping
    if dataset in bundled_names():
        return f"{mapping} {LabelMapping.bundled(dataset).model_dump_json()}"
    return str(mapping)
