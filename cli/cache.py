"""`kfr cache ...`."""

import typer

from . import options
from .output import show_json, show_table

app = typer.Typer(no_args_is_help=True, help="Look at or empty the cache.")


@app.command("list")
def listing(json: options.Json = False) -> None:
    """List the knowledge in the cache."""
    from kfr.cache import cache_folder, described, entries

    rows = [described(path) for path in entries()]
    if json:
        show_json({"folder": str(cache_folder()), "entries": rows})
        return
    typer.echo(f"{len(rows)} entries in {cache_folder()}")
    if rows:
        show_table(tuple(rows[0]), [tuple(row.values()) for row in rows])


@app.command()
def clear() -> None:
    """Empty the cache; what is needed is built again."""
    from kfr.cache import clear as empty

    typer.echo(f"{empty()} entries removed")
