"""What commands print: tables for people on stdout, JSON for programs."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import typer


def show_json(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def show_facts(title: str, facts: dict[str, Any]) -> None:
    """Print names and values, one a line."""
    typer.secho(title, bold=True)
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        typer.echo(f"  {name:<{width}}  {value}")


def show_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None
) -> None:
    """Print a table; numbers stand right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    table = Table(title=title, title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        numeric = all(isinstance(row[i], (int, float)) for row in rows)
        table.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(Text(_text(cell)) for cell in row))
    Console(soft_wrap=False).print(table)


def _text(cell: Any) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
