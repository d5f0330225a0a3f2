"""What commands take for granted: `./kfr.toml`, and the last build."""

import logging
from dataclasses import replace
from pathlib import Path

from kfr.cache import cache_folder
from kfr.config import KNOWLEDGE, Values
from kfr.errors import KfrError
from kfr.settings import layered, read_toml, write_toml
from kfr.sources import Source

PROJECT = Path("kfr.toml")

log = logging.getLogger("kfr")


def remember(values: Values) -> None:
    """Make these the defaults of this folder, and the last build of this user.

    What `kfr.toml` says of other things than knowledge stays.
    """
    built = {key: values[key] for key in KNOWLEDGE if values.get(key) is not None}
    kept = read_toml(PROJECT) if PROJECT.exists() else {}
    others = {key: value for key, value in kept.items() if key not in KNOWLEDGE}
    write_toml({**others, **built}, PROJECT)
    absolute = {**built, "hierarchy": _absolute(built["hierarchy"])}
    for key in ("mapping", "data_root"):
        if built.get(key) not in (None, "index"):
            absolute[key] = str(Path(built[key]).absolute())
    write_toml(absolute, _last())


def completed(values: Values, needed: tuple[str, ...]) -> Values:
    """Return the values over the defaults; the last build fills in what is `needed`."""
    joined = layered(read_toml(PROJECT) if PROJECT.exists() else {}, values)
    missing = [key for key in needed if key not in joined]
    if not missing or not _last().exists():
        return joined
    try:
        last = read_toml(_last())
    except KfrError as error:
        log.warning("%s; the last build is not used", error)
        return joined
    taken = [key for key in ("hierarchy", "dataset") if key not in joined]
    found = [f"{key} {last[key]}" for key in taken if key in last]
    if found:
        log.warning("%s: from the last build", ", ".join(found))
    return layered(last, joined)


def _last() -> Path:
    return cache_folder() / "last-build.toml"


def _absolute(hierarchy: str) -> str:
    source = Source.parse(hierarchy)
    return str(replace(source, path=source.path and source.path.absolute()))
