"""`kfr evaluate`, `kfr predict`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options, retrieval
from .output import show_facts, show_json, show_table
from .train import show_report


def evaluate(
    ctx: typer.Context,
    run: options.Run,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metrics", "--metric", help="all; accuracy; hier_dist,k=5; ..."),
    ] = None,
    knowledge: Annotated[
        list[str] | None,
        typer.Option(help="Score under that hierarchy, run or file of knowledge, too."),
    ] = None,
    interval: Annotated[
        bool, typer.Option("--interval", help="Add 95 % bootstrap intervals.")
    ] = False,
    decision: Annotated[
        list[str] | None,
        typer.Option(help="Score answers: minimum_risk; back_off,risk=0.05; ..."),
    ] = None,
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="Score classes without images instead.")
    ] = False,
    data_root: options.DataRoot = None,
    device: options.RunDevice = "auto",
    json: options.Json = False,
    queries: retrieval.Queries = None,
    k: retrieval.K = 10,
    weight: retrieval.Weight = None,
    include_query: retrieval.IncludeQuery = False,
    split: retrieval.Split = "test",
    gallery: retrieval.Gallery = None,
) -> None:
    """Score a run on the test part of its data set and write report.json.

    Several metrics: --metrics "accuracy hier_dist,k=5", or the option again. `all` is
    every one but knn and linear_probe, which need the training part, too. The report
    is written if nothing but the run is named. With --decision, what is scored is the
    answers that decisions give instead; with --zero-shot, how the classes of
    `hold_out` are found by what is known of them.
    """
    if zero_shot:
        _unseen(run, device, data_root, json)
        return
    if queries:
        retrieval.evaluate_retrieval(ctx.params)
        return
    if decision:
        _try(run, decision, device, data_root, json)
        return
    from kfr.plugins import Plugin
    from kfr.scoring import evaluate_under, write_report

    reports = evaluate_under(
        run,
        knowledge or [],
        metrics=[Plugin.parse(x) for text in metrics or [] for x in text.split()],
        interval=interval,
        device=device,
        data_root=data_root,
    )
    own = reports[str(run)]
    if not metrics:
        write_report(run, own)
    if json:
        dumped = {name: report.model_dump() for name, report in reports.items()}
        show_json(dumped if knowledge else dumped[str(run)])
    elif knowledge:
        _compare(reports)
    else:
        show_report(own, run)
        _show_rest(own)


def _try(
    run: Path, decisions: list[str], device: str, data_root: Path | None, json: bool
) -> None:
    from kfr.calibration import tried

    found = tried(run, decisions, device=device, data_root=data_root)
    outcomes = {name: outcome.model_dump() for name, outcome in found.items()}
    if json:
        show_json(outcomes)
        return
    names = next(iter(outcomes.values()))
    rows = [
        (name.replace("_", " "), *(x[name] for x in outcomes.values()))
        for name in names
    ]
    show_table(("", *outcomes), rows, f"{run}: answers for the test part")


def _unseen(run: Path, device: str, data_root: Path | None, json: bool) -> None:
    from kfr.injection.zero_shot import zero_shot

    found = zero_shot(run, device=device, data_root=data_root)
    facts = {k: v for k, v in found._asdict().items() if k != "values"}
    if json:
        show_json(facts)
        return
    rows = [
        (name, f"{value:.4f}", f"{chance:.4f}")
        for name, value, chance in (
            ("among the unseen", found.accuracy, found.chance),
            ("unseen among all", found.unseen, found.chance_among_all),
            ("seen among all", found.seen, found.chance_among_all),
            ("harmonic mean", found.harmonic, found.chance_among_all),
        )
    ]
    typer.echo(f"{run}, without images: {', '.join(found.classes)}")
    columns = (f"{found.images} unseen test images", "mean over classes", "chance")
    show_table(columns, rows)


def _compare(reports: dict[str, Any]) -> None:
    names = next(iter(reports.values())).metrics
    rows = [(n, *(_number(r, n) for r in reports.values())) for n in names]
    show_table(("metric", *reports), rows)


def _number(report: Any, name: str) -> str:
    text = f"{report.metrics[name]:.4f}"
    around = report.intervals.get(name)
    return f"{text} [{around.low:.4f}, {around.high:.4f}]" if around else text


def _show_rest(report: Any) -> None:
    if report.last_epochs is not None:
        typer.echo(f"mean accuracy of the last five epochs: {report.last_epochs:.4f}")
    if report.intervals:
        facts = {
            name: f"{x.low:.4f} to {x.high:.4f}  ({x.resamples} resamples)"
            for name, x in report.intervals.items()
        }
        show_facts("95 % of resamples of the images lie between", facts)


def predict(
    run: options.Run,
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    top: Annotated[int, typer.Option(min=1, help="Answers for each image.")] = 5,
    decision: Annotated[
        str | None,
        typer.Option(help="How to answer: back_off,risk=0.05; minimum_risk; ..."),
    ] = None,
    data_root: options.DataRoot = None,
    device: options.RunDevice = "auto",
    json: options.Json = False,
) -> None:
    """Say what is in images: the likeliest classes, with their way up the hierarchy.

    With --decision, one answer, which may be an ancestor, how sure each step of the
    way to it is, and the likeliest classes beside it.
    """
    from kfr import load

    recognizer = load(run, device)
    refuse_missing(images)
    if decision:
        _decide(recognizer, run, images, decision, top, data_root, json)
        return
    answers = recognizer.predict(images, top)
    if json:
        found = zip(images, answers, strict=True)
        show_json({str(path): [a._asdict() for a in some] for path, some in found})
        return
    for path, some in zip(images, answers, strict=True):
        rows = [(a.label, a.probability, " > ".join(a.path[1:])) for a in some]
        show_table(("class", "probability", "is a"), rows, str(path))


def refuse_missing(images: list[Path]) -> None:
    """Raise where images are named that are not there, or are folders."""
    from kfr.errors import DataError, MissingError, listed

    missing = [str(path) for path in images if not path.exists()]
    if missing:
        raise MissingError(f"there is no such image:{listed(missing)}")
    for path in images:
        if path.is_dir():
            raise DataError(f"{path} is a folder; name the images in it: {path}/*")


def _decide(
    recognizer: Any,
    run: Path,
    images: list[Path],
    decision: str,
    top: int,
    data_root: Path | None,
    json: bool,
) -> None:
    from kfr.answering import answered
    from kfr.calibration import decision_of

    decide = decision_of(run, decision, recognizer.knowledge, data_root)
    found = answered(recognizer, images, decide, top)
    if json:
        shown = zip(images, found, strict=True)
        show_json({str(path): answer.as_json() for path, answer in shown})
        return
    for path, answer in zip(images, found, strict=True):
        rows = [(s.name, s.probability, s.gloss) for s in answer.path]
        show_table(("answer, and what it is", "probability", ""), rows, str(path))
        others = ", ".join(f"{_called(a)} {a.probability:.3g}" for a in answer.others)
        typer.echo(f"likeliest classes: {others}")


def _called(answer: Any) -> str:
    """Return a class's label, or the name of the node that it is."""
    name: str = answer.path[0] if answer.label == answer.node else answer.label
    return name
