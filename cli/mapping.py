"""`kfr mapping ...`."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from kfr.errors import MissingError, UsageError

from . import options
from .hierarchy import show_findings
from .output import show_json, show_table

app = typer.Typer(no_args_is_help=True, help="Say what labels mean, and check it.")

_LOW = 0.5  # below this confidence, the first suggestion is marked
_WIDTH = 40  # of a gloss in the table

log = logging.getLogger("kfr")


@app.command()
def suggest(
    names: Annotated[
        str,
        typer.Argument(
            help="A folder with one folder a class, a file of names (text, CSV), or "
            "the name of a data set."
        ),
    ],
    hierarchy: options.Hierarchy = None,
    data_root: options.DataRoot = None,
    top: Annotated[int, typer.Option(min=1, help="How many nodes for a label.")] = 5,
    out: Annotated[
        Path | None, typer.Option(help="Write all suggestions as JSON, to review.")
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(help="Write the first suggestions as a mapping, unreviewed."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Suggest what class names mean: nodes, ranked, for a person to choose from.

    Of a word's meanings, the one near what the other classes mean comes first. Nothing
    is chosen unless --write asks for it.
    """
    from kfr.files import write_json
    from kfr.names import class_names
    from kfr.sources import Source
    from kfr.suggestion import as_document, as_mapping, suggest_nodes

    refuse_to_overwrite(write)
    dataset, labels = class_names(names, data_root)
    source = hierarchy or "wordnet"
    found = suggest_nodes(labels, Source.parse(source).load(), top=top)
    document = as_document(found, dataset, source)
    if out:
        write_json(out, document)
    if write:
        mapping = as_mapping(found, dataset, source)
        write_json(write, mapping.model_dump())
    show_json(document) if json else show_suggestions(found)
    warn_of_unresolved(document["unresolved"], write)


@app.command()
def check(
    mapping: Annotated[
        str, typer.Argument(help="A mapping file, or the name of a bundled mapping.")
    ],
    hierarchy: options.Hierarchy = None,
    dataset: options.Dataset = None,
    data_root: options.DataRoot = None,
    json: options.Json = False,
) -> None:
    """Say what is wrong with a mapping; with a data set, whether it fits its labels.

    The hierarchy is the one that the mapping names, unless another is given.
    """
    from kfr.findings import check_mapping
    from kfr.mapping import LabelMapping, bundled_names
    from kfr.names import class_names
    from kfr.sources import Source

    known = mapping in bundled_names()
    if not known and not Path(mapping).is_file():
        raise MissingError(
            f"there is no mapping file {mapping!r}; give one, or one of "
            f"{', '.join(bundled_names())}"
        )
    read = LabelMapping.bundled(mapping) if known else LabelMapping.read(Path(mapping))
    labels = class_names(dataset, data_root).labels if dataset else None
    source = Source.parse(hierarchy or read.source or "wordnet")
    show_findings(check_mapping(read, source, labels), json)


def show_suggestions(suggestions: Sequence[Any]) -> None:
    """Print a table: the first suggestion, and the name of the second."""
    rows = []
    for label, candidates in suggestions:
        if not candidates:
            rows.append((label, "-", "nothing found", "", "", ""))
            continue
        first, second = candidates[0], candidates[1] if len(candidates) > 1 else None
        sure = f"{first.confidence:.2f}{' ?' if first.confidence < _LOW else ''}"
        other = f"{_name(second)} {second.confidence:.2f}" if second else ""
        rows.append((label, first.node, _name(first), shortened(first), sure, other))
    columns = ("label", "node", "name", "gloss", "confidence", "second")
    show_table(columns, rows, "suggestions, to be reviewed; ? marks doubtful ones")


def shortened(candidate: Any) -> str:
    """Return the beginning of a gloss, or where it lacks one the way to the node."""
    text: str = candidate.gloss or " > ".join(candidate.path[:-1])
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH].rstrip()}..."


def warn_of_unresolved(labels: object, written: Path | None) -> None:
    """Say for which labels nothing was found."""
    if isinstance(labels, list) and labels:
        lacks = f", left out of {written}" if written else ""
        names = ", ".join(map(repr, labels))
        word = "label" if len(labels) == 1 else "labels"
        log.warning("nothing found for %d %s%s: %s", len(labels), word, lacks, names)


def refuse_to_overwrite(path: Path | None) -> None:
    """Refuse a file that is there: it may be one that somebody has reviewed."""
    if path and path.exists():
        raise UsageError(
            f"{path} is there already, and may have been reviewed; remove it, or give "
            "--write another name"
        )


def _name(candidate: Any) -> str:
    name: str = candidate.path[-1]
    return name
