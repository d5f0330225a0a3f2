"""Packages that kfr's extras bring, and what to say where one is missing."""

from importlib import import_module
from typing import Any

from kfr.errors import MissingError


def package(module: str, extra: str, *, called: str = "") -> Any:
    """Import a module of a package; `called` is its name, if not that of the module.

    Raises:
        MissingError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise not_installed(called or module.partition(".")[0], extra) from None


def not_installed(name: str, extra: str) -> MissingError:
    """Return the error that says which extra brings a package."""
    return MissingError(f"{name} is not installed: pip install 'kfr[{extra}]'")
