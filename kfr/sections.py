"""The tables of an audit: what to look at before one trusts the distances."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kfr import audit, findings, suspicion
from kfr.comparison import Measure, as_rows, compare, kinds
from kfr.mapping import LabelMapping

Table = tuple[list[str], list[list[Any]]]  # columns, rows


def sections(
    measure: Measure,
    *,
    changes: Sequence[str] = (),
    confusion: NDArray[np.float64] | None = None,
    count: int = 10,
) -> dict[str, Table]:
    """Return all tables by title; `confusion` `[C, C]` is a trained run's."""
    tables = {
        "Findings": _findings(measure),
        "Other rules for several parents": _rules(measure, count),
        **_changes(measure, changes, count),
        "Close in name, far in the hierarchy": _suspects(
            suspicion.close_in_name(measure.knowledge, count), "alike"
        ),
        "Rank correlation between kinds of distance": (
            ["distance", "distance", "Spearman"],
            as_rows(kinds(measure)),
        ),
    }
    if confusion is not None:
        found = suspicion.confused(measure.knowledge, confusion, count)
        never = suspicion.never_confused(measure.knowledge, confusion, count)
        tables["Confused by the run, far in the hierarchy"] = _suspects(found, "share")
        tables["Never confused, next to each other"] = _suspects(never, "mistaken")
    return tables


def _findings(measure: Measure) -> Table:
    knowledge = measure.knowledge
    nodes = dict(zip(knowledge.labels, knowledge.nodes, strict=True))
    dataset = knowledge.settings.get("dataset", "")
    mapping = LabelMapping(dataset=dataset, nodes=nodes)
    found = findings.check(measure.whole, mapping)
    return ["code", "what", "where"], [[f.code, f.message, f.where] for f in found]


def _rules(measure: Measure, count: int) -> Table:
    found = audit.rules(
        measure.knowledge, measure.whole, **measure.settings, count=count
    )
    rows = [
        [change.rule, f"{change.changed} ({change.share:.1%})", _most(change.top)]
        for change in found
    ]
    return ["dag", "pairs that differ from lca", "most"], rows


def _most(top: Sequence[tuple[str, str, float, float]]) -> str:
    if not top:
        return ""
    a, b, before, after = top[0]
    return f"{a} - {b}: {before:g} -> {after:g}"


def _changes(measure: Measure, changes: Sequence[str], count: int) -> dict[str, Table]:
    columns = ["class", "class", "nearer pairs before", "after"]
    compared = [compare(measure, change, count) for change in changes]
    return {
        f"{c.change}: Spearman {c.spearman:.3f}; pairs moved most in the order": (
            columns,
            [[m.a, m.b, f"{m.before:.1%}", f"{m.after:.1%}"] for m in c.moved],
        )
        for c in compared
    }


def _suspects(found: Sequence[suspicion.Suspect], evidence: str) -> Table:
    rows = [[s.a, s.b, s.distance, s.evidence] for s in found]
    return ["class", "class", "distance", evidence], rows
