"""`kfr doctor`."""

from typing import Any

from . import options
from .output import show_facts, show_json


def doctor(json: options.Json = False) -> None:
    """Say what kfr finds here: versions, devices, data, cache."""
    from kfr import diagnosis

    found: dict[str, Any] = diagnosis.diagnose()
    if json:
        show_json(found)
        return
    for title, facts in found.items():
        show_facts(title, facts)
