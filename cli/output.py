"""What commands print: tables for people on stdout, JSON for programs."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from kfr.errors import MissingError

_WIDEST = 1000


def show_json(value: Any) -> None:
    """Print a value as JSON."""
    from kfr.files import json_text

    typer.echo(json_text(value))


def show_facts(title: str, facts: dict[str, Any]) -> None:
    """Print names and values, one a line."""
    typer.secho(title, bold=True)
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        shown = f"{value:.4g}" if isinstance(value, float) else value
        typer.echo(f"  {name:<{width}}  {shown}")


def show(title: str, facts: dict[str, Any], json: bool) -> None:
    """Print names and values for people, or as JSON."""
    if json:
        show_json(facts)
    else:
        show_facts(title, facts)


def show_written(written: Iterable[Path]) -> None:
    """Print which files were written."""
    typer.echo(f"written: {', '.join(map(str, written))}")


@contextmanager
def optional() -> Iterator[None]:
    """Say what is missing, if something is, and go on without."""
    try:
        yield
    except MissingError as error:
        typer.echo(f"kfr: {error}", err=True)


def show_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None
) -> None:
    """Print a table; numbers stand right, and None is empty.

    Outside a terminal no line is folded.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    table = Table(title=title, title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        numeric = all(isinstance(row[i], (int, float, type(None))) for row in rows)
        table.add_column(
            column, justify="right" if numeric else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(_text(cell)) for cell in row))
    console = Console(soft_wrap=False)
    if not console.is_terminal:  # a file is as wide as it must be
        wide = console.options.update(max_width=_WIDEST)
        needed = console.measure(table, options=wide).maximum
        console.width = max(console.width, needed)
    console.print(table)


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
