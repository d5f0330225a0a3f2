"""Find any replaceable part by name.

Every part of kfr that can be swapped is a plain callable. `BUILTIN` gives the ones
that ship with kfr a short name; anything else is named by where it lives:
`package.module:attribute` or `path/to/file.py:attribute`.

One rule holds for all of them: positional parameters are what kfr passes in,
keyword-only parameters are the options a user may set.
"""

import functools
import hashlib
import importlib
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    JsonValue,
    ValidationError,
    create_model,
    model_validator,
)

from kfr.errors import PluginError, suggest

BUILTIN: dict[str, dict[str, str]] = {
    "source": {
        "nltk": "kfr.hierarchies.nltk:load",
        "text": "kfr.hierarchies.text:load",
        "wordnet": "kfr.hierarchies.wordnet:load",
    },
    "weighting": {
        "uniform": "kfr.weights:uniform",
    },
    "transform": {
        "linear": "kfr.weights:linear",
    },
    "distance": {
        "path": "kfr.distance:path",
    },
    "backbone": {
        "resnet18": "kfr.models.backbones:resnet18",
        "resnet34": "kfr.models.backbones:resnet34",
        "resnet50": "kfr.models.backbones:resnet50",
        "small": "kfr.models.small:small",
        "wide_resnet101_2": "kfr.models.backbones:wide_resnet101_2",
        "wide_resnet50_2": "kfr.models.backbones:wide_resnet50_2",
    },
    "head": {
        "linear": "kfr.models.heads:linear",
        "mlp": "kfr.models.heads:mlp",
    },
    "dataset": {
        "cifar10": "kfr.data.cifar:cifar10",
        "cifar100": "kfr.data.cifar:cifar100",
        "imagefolder": "kfr.data.folder:imagefolder",
        "shapes": "kfr.data.shapes:shapes",
    },
    "objective": {
        "cross_entropy": "kfr.objectives.classification:cross_entropy",
        "qtr": "kfr.objectives.qtr:qtr",
    },
    "logger": {
        "csv": "kfr.logs:table",
        "jsonl": "kfr.logs:jsonl",
    },
    "metric": {
        "accuracy": "kfr.metrics:accuracy",
        "balanced_accuracy": "kfr.metrics:balanced_accuracy",
        "hier_dist": "kfr.metrics:hier_dist",
        "mistake_severity": "kfr.metrics:mistake_severity",
        "top_k": "kfr.metrics:top_k",
    },
}


class Plugin(BaseModel):
    """A plug-in by name, with its options.

    Written `name,key=value,...` on the command line and in TOML.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: dict[str, JsonValue] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        name, *pairs = value.split(",")
        bad = [pair for pair in pairs if "=" not in pair]
        if bad:
            raise ValueError(f"{bad[0]!r} is not of the form key=value in {value!r}")
        split = [pair.split("=", 1) for pair in pairs]
        keys = [key.strip() for key, _ in split]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} is given twice in {value!r}")
        values = [value.strip() for _, value in split]
        return {"name": name.strip(), "options": dict(zip(keys, values, strict=True))}

    @classmethod
    def parse(cls, value: "Plugin | str") -> Self:
        """Accept a plug-in or its text form."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise PluginError(error.errors()[0]["msg"]) from None

    def __str__(self) -> str:
        """Return the text form, options in a fixed order."""
        return ",".join(
            [self.name, *(f"{k}={v}" for k, v in sorted(self.options.items()))]
        )


def make(kind: str, plugin: Plugin | str, *given: object) -> Any:
    """Build a plug-in of `kind`, passing `given` and the user's options."""
    plugin = Plugin.parse(plugin)
    factory = find(kind, plugin.name)
    return factory(*given, **_checked(plugin, factory))


def check(kind: str, plugin: Plugin | str) -> None:
    """Raise unless the plug-in exists and takes the options given."""
    plugin = Plugin.parse(plugin)
    _checked(plugin, find(kind, plugin.name))


def find(kind: str, name: str) -> Callable[..., Any]:
    """Return the callable that `name` stands for."""
    known = BUILTIN[kind]
    target = known.get(name, name)
    where, _, attribute = target.rpartition(":")
    if not where:
        raise PluginError(
            f"no {kind} is called {name!r}{suggest(name, known)}; "
            f"choose one of {', '.join(known)}, or give module:attribute"
        )
    module = _from_file(where) if where.endswith(".py") else _from_import(where)
    try:
        found: Callable[..., Any] = getattr(module, attribute)
    except AttributeError:
        raise PluginError(f"{where} has no {attribute!r} to use as {kind}") from None
    return found


def options(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the options a plug-in offers, by name."""
    parameters = inspect.signature(factory, eval_str=True).parameters
    return {n: p for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def identity(kind: str, plugin: Plugin | str) -> str:
    """Return a text that changes when the plug-in would give another result.

    The name and the full set of options; for a plug-in from outside kfr also the
    digest of the file it is written in.
    """
    plugin = Plugin.parse(plugin)
    factory = find(kind, plugin.name)
    settled = sorted(_checked(plugin, factory).items())
    text = f"{plugin.name}({', '.join(f'{k}={v!r}' for k, v in settled)})"
    if plugin.name in BUILTIN[kind]:
        return text
    source = Path(inspect.getfile(inspect.unwrap(factory))).read_bytes()
    return f"{text}#{hashlib.sha256(source).hexdigest()}"


def _checked(plugin: Plugin, factory: Callable[..., Any]) -> dict[str, Any]:
    offered = options(factory)
    unknown = plugin.options.keys() - offered.keys()
    if unknown:
        name = min(unknown)
        raise PluginError(
            f"{plugin.name} has no option {name!r}{suggest(name, offered)}; "
            f"it takes {', '.join(offered) or 'none'}"
        )
    fields: dict[str, Any] = {
        name: (p.annotation, ... if p.default is p.empty else p.default)
        for name, p in offered.items()
    }
    schema = create_model(plugin.name, __config__=_STRICT, **fields)
    try:
        return dict(schema.model_validate(plugin.options))
    except ValidationError as error:
        wrong = error.errors()[0]
        raise PluginError(
            f"{plugin.name}: {wrong['loc'][0]}={wrong['input']!r}: {wrong['msg']}"
        ) from None


_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


def _from_import(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise PluginError(f"cannot import {name}: {error.name} is missing") from error


@functools.cache
def _from_file(name: str) -> object:
    path = Path(name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise PluginError(f"{name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
