"""Where a run's settings come from: TOML, the environment and options.

What is asked for nearest to the command wins: an option, then `--set key=value`, then
`KFR_KEY` in the environment, then `--config FILE`, then `--recipe NAME`, then
`./kfr.toml` and the last build, then the default.
"""

import os
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kfr.config import PLUGGABLE, ConfigError, RunConfig, Values, as_toml
from kfr.errors import KfrError, MissingError, UsageError, suggest
from kfr.files import read_text, write_whole
from kfr.plugins import Plugin

_OF_PHASES = ("objective", "rate", "schedule")  # which each may have its own of


def read_toml(path: Path) -> Values:
    """Read a configuration file, or part of one.

    Raises:
        MissingError: it is not there.
        ConfigError: it is not TOML, or has keys that no run has.
    """
    if not path.exists():
        raise MissingError(f"there is no configuration file {path}")
    try:
        values = tomllib.loads(read_text(path, ConfigError))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from None
    for key in values:
        _known(key, f"{path}: ")
    problems = _problems(values)
    if problems:
        raise ConfigError(f"{path}: {'; '.join(problems)}")
    return values


def write_toml(values: Values, path: Path) -> None:
    """Write part of a configuration."""
    lines = [f"{k} = {as_toml(v)}" for k, v in values.items() if v is not None]
    write_whole(path, "\n".join(["# defaults of the kfr command", *lines, ""]))


def environment() -> Values:
    """Return what `KFR_...` variables say about a run."""
    fields = RunConfig.model_fields
    named = {name: os.environ.get(f"KFR_{name.upper()}") for name in fields}
    return {name: _flag_or_list(text) for name, text in named.items() if text}


def layered(*layers: Values) -> Values:
    """Join values, later layers first.

    A mapping belongs to its hierarchy and data set, a data root to its data set: where
    a later layer names others, an earlier layer's mapping or root is dropped. A data
    set with other options is the same one. Epochs are of each of the phases in an
    earlier layer.

    Raises:
        UsageError: a layer gives what every phase below it has itself.
    """
    joined: Values = {}
    for layer in layers:
        given = {k: v for k, v in layer.items() if v is not None}
        if joined.get("phase") and "phase" not in given:
            joined["phase"] = _phases(joined["phase"], given)
        changed = {
            k
            for k in ("hierarchy", "dataset")
            if k in given and k in joined and _other(k, given[k], joined[k])
        }
        if changed:
            joined.pop("mapping", None)
        if "dataset" in changed:
            joined.pop("data_root", None)
        joined |= given
    return joined


def _other(key: str, later: Any, earlier: Any) -> bool:
    if key == "dataset":
        return Plugin.parse(later).name != Plugin.parse(earlier).name
    return bool(later != earlier)


def combined(
    below: Values,
    settings: Iterable[str],
    flags: Values,
    complete: Callable[[Values], Values] = dict,
) -> Values:
    """Return values under `key=value` settings, under flags.

    `complete` is given what they say and puts defaults below, so that options of the
    defaults, and their phases, can be set, too.
    `objective.qtr.alpha=3` sets an option of one of several plug-ins, unless the flag
    that names the plug-in says otherwise.

    Raises:
        UsageError: a setting is not of that form, or every phase has its own.
    """
    plain: Values = {}
    dotted: list[tuple[str, list[str], str]] = []
    for setting in settings:
        path, equals, value = setting.partition("=")
        key, *rest = path.strip().split(".")
        if not equals:
            raise UsageError(f"--set {setting!r} is not of the form key=value")
        _known(key, f"--set {setting}: ", UsageError)
        if rest:
            dotted.append((key, rest, value))
        else:
            plain[key] = _parsed(value)
    values = complete(layered(below, plain, flags))
    for key, rest, value in dotted:
        _own(values.get("phase") or [], key, ".".join([key, *rest]), value)
        flagged = flags.get(key) is not None
        values[key] = _set_option(values, key, rest, value, flagged)
    return values


def _phases(phases: Any, given: Values) -> Any:
    """Return phases, each for the epochs that are given; none for 0 of them."""
    if any(not isinstance(phase, dict) for phase in phases):
        return phases  # checked later
    for key in _OF_PHASES:
        if key in given:
            _own(phases, key, key, given[key])
    epochs = given.get("epochs")
    if epochs is None:
        return phases
    none = str(epochs).strip() == "0"  # from the environment it is a text
    return [] if none else [{**phase, "epochs": epochs} for phase in phases]


def _own(phases: Any, key: str, setting: str, value: Any) -> None:
    """Raise if every phase has its own of what is given for the whole run."""
    ready = bool(phases) and all(isinstance(phase, dict) for phase in phases)
    if key in _OF_PHASES and ready and all(key in phase for phase in phases):
        text = " + ".join(map(str, value)) if isinstance(value, list) else str(value)
        raise UsageError(
            f"each phase of this run has its own {key}, so that {setting} = {text} "
            "would change nothing: change the phases in a file, or leave them out "
            "with --set phase=[]"
        )


def run_config(values: Values) -> RunConfig:
    """Check values and fill in the defaults.

    Raises:
        UsageError: naming each value that is wrong or missing.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        missing = [str(e["loc"][0]) for e in error.errors() if e["type"] == "missing"]
        asked = [f"give --{name.replace('_', '-')}" for name in missing]
        raise UsageError("; ".join([*_problems(values), *asked])) from None


def config_of(run: Path) -> RunConfig:
    """Return the configuration of a run.

    Raises:
        MissingError: `run` is not a run folder.
    """
    if not (run / "config.toml").is_file():
        raise MissingError(f"{run} is not a run: it has no config.toml")
    return run_config(read_toml(run / "config.toml"))


def _problems(values: Values) -> list[str]:
    """Return what is wrong with some of a run's values, others being absent."""
    try:
        RunConfig.model_validate(values)
    except ValidationError as error:
        return [
            f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}"
            if e["loc"]
            else e["msg"].removeprefix("Value error, ")
            for e in error.errors()
            if e["type"] != "missing" or len(e["loc"]) > 1
        ]
    return []


def _known(key: str, where: str, kind: type[KfrError] = ConfigError) -> None:
    fields = RunConfig.model_fields
    if key not in fields:
        raise kind(f"{where}a run has no {key!r}{suggest(key, fields)}")


def _set_option(
    values: Values, key: str, rest: list[str], value: str, flagged: bool
) -> Any:
    where = f"--set {key}.{'.'.join(rest)}"
    field = RunConfig.model_fields[key]
    if key in PLUGGABLE and key not in values and field.is_required():
        raise UsageError(f"{where}: no {key} is given whose option that could be")
    present = values.get(key, field.default)
    if key not in PLUGGABLE or not present:
        raise UsageError(f"{where}: {key} has no options")
    several = isinstance(present, (list, tuple))
    names = [Plugin.parse(p) for p in (present if several else [present])]
    target = ".".join(rest[:-1]) or names[0].name
    there = [p.name for p in names]
    if target not in there:
        raise UsageError(
            f"{where}: {key} has no {target!r}{suggest(target, there)}; "
            f"it has {', '.join(there)}"
        )
    changed = [
        _with(p, rest[-1], value, flagged) if p.name == target else p for p in names
    ]
    one = str(changed[0]) if key == "hierarchy" else changed[0]
    return changed if several else one


def _with(plugin: Plugin, option: str, value: str, flagged: bool) -> Plugin:
    first, last = {option: value}, plugin.options
    options = {**first, **last} if flagged else {**last, **first}
    return Plugin(name=plugin.name, options=options)


def _parsed(text: str) -> Any:
    """Read a TOML value; what is none is a text."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _flag_or_list(text: str) -> Any:
    value = _parsed(text)  # numbers and names pydantic reads itself
    return value if isinstance(value, (bool, list)) else text
