"""`kfr evaluate RUN --retrieval QUERIES`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .output import show_json, show_table

_PANEL = "Retrieval"

Queries = Annotated[
    Path | None,
    typer.Option(
        "--retrieval",
        help="Score searches instead, by these queries of `kfr search queries`.",
        rich_help_panel=_PANEL,
    ),
]
K = Annotated[
    int, typer.Option("--k", min=1, help="Images to find.", rich_help_panel=_PANEL)
]
Weight = Annotated[
    float | None,
    typer.Option(
        "--lambda",
        min=0,
        help="How much moving away costs. [default: the student's, else 1.1]",
        rich_help_panel=_PANEL,
    ),
]
IncludeQuery = Annotated[
    bool,
    typer.Option(
        "--include-query",
        help="Leave the query among what is searched.",
        rich_help_panel=_PANEL,
    ),
]
Split = Annotated[str, typer.Option(help="What is searched.", rich_help_panel=_PANEL)]
Gallery = Annotated[
    Path | None,
    typer.Option(help="Draw what some queries found.", rich_help_panel=_PANEL),
]
_DRAWN = 6  # queries


def evaluate_retrieval(given: dict[str, Any]) -> None:
    """Search for all queries in all ways, and print what each is worth."""
    from kfr.retrieval.judging import judged
    from kfr.retrieval.queries import read_queries

    names = ("split", "k", "weight", "include_query", "data_root")
    chosen = {name: given[name] for name in names}
    queries = read_queries(given["queries"])
    device = given["device"] or "auto"
    trial = judged(given["run"], queries, device=device, **chosen)
    if given["gallery"]:
        _draw(trial, given["gallery"])
    if given["json"]:
        show_json(_plain(trial))
    else:
        _show(trial)


def _draw(trial: Any, folder: Path) -> None:
    from kfr.retrieval.trial_gallery import trial_gallery

    for row in range(min(_DRAWN, len(trial.task.at))):
        trial_gallery(trial, row, folder / f"query-{row}.png")


def _plain(trial: Any) -> dict[str, Any]:
    return {
        "queries": len(trial.task.at),
        "images": len(trial.task.stage.collection),
        "ideal": trial.ideal._asdict(),
        "methods": {
            name: {
                "scores": {n: v._asdict() for n, v in method.scores.items()},
                "behind": {n: v._asdict() for n, v in method.behind.items()},
                "milliseconds": method.milliseconds,
            }
            for name, method in trial.methods.items()
        },
    }


def _show(trial: Any) -> None:
    names = next(iter(trial.methods.values())).scores
    rows = [
        (name, *map(_value, method.scores.values()), f"{method.milliseconds:.3g}")
        for name, method in trial.methods.items()
    ]
    title = f"{len(trial.task.at)} queries, {len(trial.task.stage.collection)} images"
    show_table(("", *names, "ms a query"), rows, title)
    first, *others = trial.methods
    rows = [(name, *map(_gain, trial.methods[name].behind.values())) for name in others]
    show_table(("", *names), rows, f"{first} is better by (* beyond chance)")
    typer.echo(
        f"A perfect ranking has {next(iter(names))} {trial.ideal.mean:.4f}. "
        "In brackets: 95 % of resamples of the queries."
    )


def _value(value: Any) -> str:
    return f"{value.mean:.4f} [{value.low:.4f}, {value.high:.4f}]"


def _gain(value: Any) -> str:
    sure = " *" if value.low > 0 or value.high < 0 else ""
    return f"{value.mean:+.4f} [{value.low:+.4f}, {value.high:+.4f}]{sure}"
