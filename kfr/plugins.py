"""Find any replaceable part by name.

Every part of kfr that can be swapped is a plain callable. `BUILTIN` gives the ones
that ship with kfr a short name; anything else is named by where it lives:
`package.module:attribute` or `path/to/file.py:attribute`.

One rule holds for all of them: positional parameters are what kfr passes in,
keyword-only parameters are the options a user may set. Of what kfr passes in, a part
may leave out the last ones.
"""

import ast
import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    create_model,
    model_validator,
)

from kfr import builtin
from kfr.errors import PluginError, suggest

BUILTIN = builtin.BUILTIN


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

    def written(self) -> "str | dict[str, Any]":
        """Return the text form, or where that reads back as another, the table form."""
        try:
            same = Plugin.parse(str(self)) == self
        except PluginError:
            same = False
        return str(self) if same else self.model_dump()


def make(kind: str, plugin: Plugin | str, *given: object) -> Any:
    """Build a plug-in of `kind`, passing `given` and the user's options.

    One that has fewer positional parameters, but some, is passed the first of `given`.
    """
    plugin = Plugin.parse(plugin)
    factory = find(kind, plugin.name)
    chosen = _checked(plugin, factory)
    given = given[: _positional(factory) or None]
    try:
        inspect.signature(factory).bind(*given, **chosen)
    except TypeError as error:
        raise PluginError(
            f"{plugin.name} does not fit: as a {kind} it is given {len(given)} "
            f"positional parameters, its options by keyword only; {error}"
        ) from None
    return factory(*given, **chosen)


def _positional(factory: Callable[..., Any]) -> int | None:
    """Return how many positional parameters there are; None if any number will do."""
    kinds = [p.kind for p in inspect.signature(factory).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return None
    named = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return sum(kind in {inspect.Parameter.POSITIONAL_ONLY, named} for kind in kinds)


def check(kind: str, plugin: Plugin | str) -> None:
    """Raise unless the plug-in exists and takes the options given."""
    plugin = Plugin.parse(plugin)
    _checked(plugin, find(kind, plugin.name))


def find(kind: str, name: str) -> Callable[..., Any]:
    """Return the callable that `name` stands for."""
    known = BUILTIN[kind]
    family, colon, member = name.partition(":")
    if colon and family + colon in known:
        named: Callable[..., Any] = _attribute(kind, known[family + colon])(member)
        return named
    target = known.get(name, name)
    if not target.rpartition(":")[0]:
        raise PluginError(
            f"no {kind} is called {name!r}{suggest(name, known)}; "
            f"choose one of {', '.join(known)}, or give module:attribute"
        )
    return _attribute(kind, target)


def _attribute(kind: str, target: str) -> Callable[..., Any]:
    where, _, attribute = target.rpartition(":")
    module = _module(where)
    try:
        found: Callable[..., Any] = getattr(module, attribute)
    except AttributeError:
        raise PluginError(f"{where} has no {attribute!r} to use as {kind}") from None
    if not callable(found):
        raise PluginError(f"{where}:{attribute} is no {kind}: it cannot be called")
    return found


def options(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the options a plug-in offers, by name."""
    parameters = inspect.signature(factory, eval_str=True).parameters
    return {n: p for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def settled(kind: str, plugin: Plugin | str) -> dict[str, Any]:
    """Return all options of a plug-in, those not given as they are by default."""
    plugin = Plugin.parse(plugin)
    return _checked(plugin, find(kind, plugin.name))


def identity(kind: str, plugin: Plugin | str) -> str:
    """Return a text that changes when the plug-in would give another result.

    The name and the full set of options; for a plug-in from outside kfr also the
    digest of the file it is written in.
    """
    plugin = Plugin.parse(plugin)
    factory = find(kind, plugin.name)
    chosen = sorted(_checked(plugin, factory).items())
    text = f"{plugin.name}({', '.join(f'{k}={_told(v)}' for k, v in chosen)})"
    family, colon, _ = plugin.name.partition(":")
    if {plugin.name, family + colon} & BUILTIN[kind].keys():
        return text
    try:
        file = inspect.getfile(inspect.unwrap(factory))
    except TypeError:  # neither a function nor a class: an object that can be called
        file = str(vars(_module(plugin.name.rpartition(":")[0])).get("__file__"))
    source = Path(file).read_bytes()
    return f"{text}#{hashlib.sha256(source).hexdigest()}"


def read_identity(text: str) -> Plugin:
    """Return the plug-in that ships with kfr and has this `identity`.

    Raises:
        PluginError: it is not one of kfr's own.
    """
    try:
        call = ast.parse(text, mode="eval").body
        keywords = call.keywords if isinstance(call, ast.Call) else []
        options = {str(k.arg): ast.literal_eval(k.value) for k in keywords}
    except (ValueError, SyntaxError):
        raise PluginError(f"{text!r} is no plug-in that ships with kfr") from None
    return Plugin(name=text.partition("(")[0], options=options)


def _told(value: object) -> str:
    """Return a text that changes with an option, and with the file that it names."""
    if isinstance(value, Path):
        content = value.read_bytes() if value.is_file() else b""
        return f"{str(value)!r}#{hashlib.sha256(content).hexdigest()[:16]}"
    return repr(value)


def _checked(plugin: Plugin, factory: Callable[..., Any]) -> dict[str, Any]:
    offered = options(factory)
    unknown = plugin.options.keys() - offered.keys()
    if unknown:
        name = min(unknown)
        raise PluginError(
            f"{plugin.name} has no option {name!r}{suggest(name, offered)}; "
            f"it takes {', '.join(offered) or 'none'}"
        )
    fields: dict[str, Any] = {_FIELD + n: _field(n, p) for n, p in offered.items()}
    schema = create_model(plugin.name, __config__=_STRICT, **fields)
    try:
        found = dict(schema.model_validate(plugin.options))
        return {name.removeprefix(_FIELD): value for name, value in found.items()}
    except ValidationError as error:
        wrong = error.errors()[0]
        name = str(wrong["loc"][0]).removeprefix(_FIELD)
        if wrong["type"] == "missing":
            raise PluginError(
                f"{plugin.name} needs the option {name!r}: "
                f"write {plugin.name},{name}=..."
            ) from None
        raise PluginError(
            f"{plugin.name}: {name}={wrong['input']!r}: {wrong['msg']}"
        ) from None


_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_FIELD = "option_"  # an option may have a name that models use: copy, json, schema


def _field(name: str, parameter: inspect.Parameter) -> tuple[Any, Any]:
    given, default, none = parameter.annotation, parameter.default, parameter.empty
    return (
        Any if given is none else given,
        Field(... if default is none else default, alias=name),
    )


def _module(where: str) -> object:
    if where.startswith("."):
        raise PluginError(f"cannot import {where}: a module is named in full")
    try:
        if where.endswith(".py"):
            return _from_file(Path(where).resolve())
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        raise PluginError(f"cannot import {where}: {error.name} is missing") from error
    except (ImportError, SyntaxError) as error:
        raise PluginError(f"cannot import {where}: {error}") from error


@functools.cache
def _from_file(path: Path) -> object:
    name = f"kfr plug-in {path}"  # no other module is called so
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.exists():
        raise PluginError(f"there is no file {path}")
    if spec is None or spec.loader is None or not path.is_file():
        raise PluginError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for the module of a class there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
