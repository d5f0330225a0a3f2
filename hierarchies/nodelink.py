"""Node-link JSON, as networkx and Neural-Backed Decision Trees write it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from kfr.edges import Edge, graph
from kfr.errors import HierarchyError
from kfr.files import read_text
from kfr.hierarchy import Hierarchy

from . import reading


def load(
    path: Path | None,
    *,
    direction: Literal["parent-child", "child-parent"] = "parent-child",
    break_cycles: bool = False,
) -> Hierarchy:
    """Read `{"nodes": [{"id": ...}], "links": [{"source": ..., "target": ...}]}`.

    A link leads from parent to child unless `direction` says otherwise; a node's
    `label` or `name` becomes its name.

    Raises:
        HierarchyError: it is not such a file, or an end of a link is no node.
    """
    path = reading.file(path, "nodelink")
    whole = _parsed(path)
    nodes, links = _list(whole, "nodes", path), _links(whole, path)
    if whole.get("directed") is False:
        raise HierarchyError(f"{path}: the graph is undirected; no end is the parent")
    names: dict[str, str] = {}
    for node in nodes:
        key = _text(node, "id", path)
        if key in names:
            raise HierarchyError(f"{path}: two nodes have the id {key!r}")
        names[key] = str(node.get("label") or node.get("name") or "")
    edges: dict[Edge, int] = {}
    for link in links:
        ends = _text(link, "source", path), _text(link, "target", path)
        if missing := [end for end in ends if end not in names]:
            raise HierarchyError(
                f"{path}: a link has the end {missing[0]!r}, but no node is called so"
            )
        edges[ends if direction == "parent-child" else ends[::-1]] = 0
    return graph(names, edges, str(path), break_cycles=break_cycles)


def _parsed(path: Path) -> Mapping[str, Any]:
    try:
        whole = json.loads(read_text(path, HierarchyError))
    except json.JSONDecodeError as error:
        raise HierarchyError(f"{path}:{error.lineno}: no JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # a number too long; nested too deep
        raise HierarchyError(f"{path}: no JSON that kfr reads: {error}") from None
    if not isinstance(whole, dict):
        raise HierarchyError(f"{path}: {_EXPECTED}")
    return whole


_EXPECTED = (
    "this is no node-link graph: it has no lists `nodes` and `links`, as networkx's "
    "node_link_data writes them"
)


def _links(whole: Mapping[str, Any], path: Path) -> list[Mapping[str, Any]]:
    return _list(whole, "links" if "links" in whole else "edges", path)


def _list(whole: Mapping[str, Any], key: str, path: Path) -> list[Mapping[str, Any]]:
    found = whole.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise HierarchyError(f"{path}: {_EXPECTED}")
    return found


def _text(entry: Mapping[str, Any], key: str, path: Path) -> str:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise HierarchyError(f"{path}: {key}={value!r} in {str(entry)[:60]} is no node")
    return str(value)
