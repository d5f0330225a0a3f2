"""`kfr distill`."""

from typing import Annotated, Any

import typer
from rich.console import Console

from . import options
from .output import show_facts, show_json
from .progress import bars


def distill(
    run: options.Run,
    embedding: Annotated[
        str,
        typer.Option(help="How classes are put: unitsphere, onehot, text, ..."),
    ] = "unitsphere",
    weight: Annotated[
        float, typer.Option("--lambda", min=0, help="That of the searches.")
    ] = 1.1,
    searches: Annotated[
        int, typer.Option(min=1, help="Searches to learn from.")
    ] = 10_240,
    conditions: Annotated[
        int, typer.Option(min=1, help="The most that are asked at once.")
    ] = 2,
    nodes: Annotated[
        float, typer.Option(help="Share of inner nodes among classes asked for.")
    ] = 0.2,
    negative: Annotated[float, typer.Option(help="Share of not:... conditions.")] = 0.1,
    hidden: Annotated[int, typer.Option(min=1, help="Width of its layers.")] = 128,
    residual: Annotated[
        bool, typer.Option("--residual", help="Add what it gives to the query.")
    ] = False,
    epochs: Annotated[int, typer.Option(min=1, help="Over all searches.")] = 60,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    data_root: options.DataRoot = None,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Train a small network to end in one pass where the backward search would.

    Then: kfr search INDEX IMAGE --condition ... --student. Stopped, the same command
    goes on.
    """
    from kfr.retrieval.distilling import Settings, distill

    settings = Settings(
        embedding=embedding,
        weight=weight,
        searches=searches,
        most=conditions,
        nodes=nodes,
        negative=negative,
        hidden=hidden,
        residual=residual,
        epochs=epochs,
        seed=seed,
    )
    steps = distill(run, settings, device=device or "auto", data_root=data_root)
    figures = _shown(steps)
    if json:
        show_json({"run": str(run), **settings._asdict(), **figures})
    else:
        facts = {name: f"{value:.4f}" for name, value in figures.items()}
        show_facts(f"the student of {run}, on searches it has not seen", facts)


def _shown(steps: Any) -> dict[str, float]:
    """Show progress on stderr, and return the last figures."""
    console = Console(stderr=True)
    figures: dict[str, float] = {}
    with bars(console) as shown:
        tasks: dict[str, Any] = {}
        for done in steps:
            if done.what not in tasks:
                tasks[done.what] = shown.add_task(done.what, total=done.total)
            shown.update(tasks[done.what], completed=done.number)
            figures = done.figures
            if done.number == done.total or (done.figures and done.number % 10 == 0):
                told = "  ".join(f"{n} {v:.4f}" for n, v in figures.items())
                console.print(
                    f"{done.what} {done.number}/{done.total}  {told}",
                    highlight=False,
                    soft_wrap=True,
                )
    return figures
