"""`kfr search`: an image, or `queries` to judge searches by."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import options
from .output import show
from .search import search

_PLAIN = "INDEX IMAGE"  # no command can be called so


class _Searches(TyperGroup):
    """A command with others below it: what is called like none is its argument."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args and args[0] in self.commands
        given = args if named else [_PLAIN, *(args or ["--help"])]
        return list(super().parse_args(ctx, given))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        _, command, rest = super().resolve_command(ctx, args)
        return (None if args[0] == _PLAIN else args[0]), command, rest


app = typer.Typer(
    cls=_Searches, help="Find the images most like one; with conditions, or not."
)
app.command(_PLAIN, epilog="`kfr search queries --help`: queries to judge by.")(search)


@app.command()
def queries(
    what: Annotated[Path, typer.Argument(help="An index, or a run folder.")],
    out: Annotated[Path, typer.Option(help="The CSV to write.")],
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="How many queries.")] = 1000,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="What to ask, once for each condition of a query: class, node, an "
            "attribute, 'A|B'. [default: class]"
        ),
    ] = None,
    least: Annotated[
        int, typer.Option(min=1, help="Images that meet the conditions at least.")
    ] = 1,
    split: Annotated[
        str, typer.Option(help="Of a run: test, train, validation.")
    ] = "test",
    data_root: options.DataRoot = None,
    json: options.Json = False,
) -> None:
    """Draw queries, as many of each class: an image and random conditions each.

    The image does not meet the conditions; at least one other does. `kfr evaluate RUN
    --retrieval FILE` tells how well searches answer them.
    """
    from kfr.retrieval.queries import draw_queries, write_queries
    from kfr.retrieval.stage import searched

    collection, knowledge = searched(what, split, data_root)
    wanted: dict[str, Any] = {"count": count, "seed": seed, "least": least}
    drawn = draw_queries(collection, knowledge, by=by or ("class",), **wanted)
    write_queries(drawn, out)
    facts = {"queries": len(drawn), "images": len(collection), "written": str(out)}
    show(str(out), facts, json)
