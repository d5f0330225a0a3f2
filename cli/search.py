"""`kfr search` with an image."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options
from .evaluate import refuse_missing
from .output import show_json, show_table

Index = Annotated[Path, typer.Argument(help="A file of `kfr index build`.")]
OtherRun = Annotated[
    Path | None, typer.Option(help="The run it was built with, if that was moved.")
]


def search(
    index: Index,
    image: Annotated[Path, typer.Argument(help="An image file.")],
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Images to find.")] = 10,
    condition: Annotated[
        list[str] | None,
        typer.Option(help="A class, a node, COLUMN=VALUE; not:... must not be."),
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option(
            "--lambda", min=0, help="How much moving away costs. [default: 1.1]"
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the search. [default: 100]")
    ] = None,
    student: Annotated[
        bool, typer.Option("--student", help="One pass instead: see kfr distill.")
    ] = False,
    by_loss: Annotated[
        bool,
        typer.Option(
            "--by-loss", help="Move nothing: rank images by the loss of the search."
        ),
    ] = False,
    show_path: Annotated[
        bool, typer.Option("--show-path", help="Show the way the query took.")
    ] = False,
    label: Annotated[
        str | None, typer.Option(help="The image's class, to grade what is found.")
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Draw a gallery.")] = None,
    run: OtherRun = None,
    device: options.RunDevice = "auto",
    json: options.Json = False,
) -> None:
    """Find the images most like one; with conditions, like it but with these met."""
    from kfr.errors import UsageError
    from kfr.retrieval.answers import search
    from kfr.retrieval.collection import load_collection, run_of
    from kfr.retrieval.embedding import opened
    from kfr.retrieval.gallery import gallery
    from kfr.retrieval.student import student_of

    if by_loss and student:
        raise UsageError("--by-loss moves nothing, and --student does; give one")
    if steps is not None and (student or by_loss):
        raise UsageError("--steps is of the search; --student and --by-loss have none")
    collection = load_collection(index)
    refuse_missing([image])
    recognizer = opened(collection, index, run, device)
    given: dict[str, Any] = {"k": k, "steps": steps or 100, "label": label}
    given["weight"] = 1.1 if weight is None else weight
    given["by_loss"] = by_loss
    if student:
        place = run or run_of(collection, index)
        given["student"] = student_of(place, collection.model, recognizer, weight)
    answer = search(collection, recognizer, image, condition or (), **given)
    if png:
        gallery(answer, png)
    if json:
        show_json(answer.as_json(path=show_path))
        return
    _print(answer, show_path)


def _print(answer: Any, show_path: bool) -> None:
    for asked in answer.conditions:
        typer.echo(f"{asked.condition}: {asked.before:.4f} -> {asked.after:.4f}")
    if show_path and answer.path:
        names = [asked.condition for asked in answer.conditions]
        rows = [(p.step, p.loss, p.moved, *p.masses, p.nearest) for p in answer.path]
        show_table(("step", "loss", "moved", *names, "nearest"), rows, "the way")
    names = list(dict.fromkeys(a.attribute for a in answer.conditions if a.attribute))
    heads = ("class", *names, *["meets"] * bool(answer.conditions))
    weighed = any(hit.loss is not None for hit in answer.hits)
    heads += ("loss", "cosine") if weighed else ("cosine",)
    found = [
        (i, *_told(hit, names), *_worth(hit), _grade(hit.relevance), hit.path)
        for i, hit in enumerate(answer.hits, 1)
    ]
    show_table(("", *heads, "relevance", "image"), found, answer.image)


def _told(hit: Any, names: list[str]) -> tuple[str, ...]:
    meets = [] if hit.meets is None else ["yes" if hit.meets else "no"]
    return (hit.label or "", *(hit.attributes.get(n, "") for n in names), *meets)


def _worth(hit: Any) -> tuple[float, ...]:
    own = (hit.similarity,)
    return own if hit.loss is None else (hit.loss, *own)


def _grade(relevance: float | None) -> str:
    return "" if relevance is None else f"{relevance:.3f}"
