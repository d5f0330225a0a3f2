"""The `kfr` command: reads options, calls the library, prints the result."""

import logging
import sys
from typing import Annotated

import typer

from kfr import __version__
from kfr.errors import KfrError
from kfr.signals import ending

from . import (
    ablate,
    cache,
    calibrate,
    compare,
    data,
    demo,
    distill,
    doctor,
    embed,
    evaluate,
    export,
    hierarchy,
    index,
    inspect,
    listing,
    localize,
    mapping,
    queries,
    recipes,
    report,
    serve,
    sweep,
    train,
)

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(hierarchy.app, name="hierarchy")
app.add_typer(inspect.app, name="inspect")
app.add_typer(mapping.app, name="mapping")
app.add_typer(embed.app, name="embed")
app.add_typer(cache.app, name="cache")
app.add_typer(data.app, name="data")
app.add_typer(index.app, name="index")
app.add_typer(queries.app, name="search")
for command in (
    *(train.train, evaluate.evaluate, evaluate.predict, calibrate.calibrate),
    *(sweep.sweep, compare.compare, recipes.recipes),
    *(report.report, ablate.ablate, listing.runs, export.export),
    *(distill.distill, localize.localize, serve.serve),
    *(demo.demo, doctor.doctor),
):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kfr {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Image recognition that knows how its classes are related."""
    del version
    log = logging.getLogger("kfr")
    log.handlers = [logging.StreamHandler()]
    log.handlers[0].setFormatter(logging.Formatter("kfr: %(message)s"))
    log.propagate = False


def main() -> None:
    """Run the command; an error of ours becomes one line and its exit code.

    0 ok, 1 internal error, 2 usage, 3 bad input, 4 something is missing, 5 numbers,
    130 and 143 ended by a signal.
    """
    try:
        with ending():
            app()
    except KfrError as error:
        typer.secho(f"kfr: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
