"""`kfr compare`."""

from math import isnan
from pathlib import Path
from typing import Annotated, Any

import typer

from . import options
from .output import json_text, show_json, show_table
from .runs import train_once

STANDARD = (
    "cross_entropy",
    "cross_entropy + qtr,alpha=1",
    "soft_labels,beta=10",
    "hxe,alpha=0.1",
    "inverse_correlation,classifier_weight=0.1; head=semantic",
)


def compare(
    ctx: typer.Context,
    contender: Annotated[
        list[str] | None,
        typer.Option(
            help="'OBJECTIVE + OBJECTIVE; key=value'; the first: baseline. Or: all."
        ),
    ] = None,
    seeds: options.Seeds = 3,
    control: Annotated[
        bool, typer.Option(help="Train again with a shuffled tree.")
    ] = True,
    out: Annotated[Path, typer.Option(help="Where all goes.")] = Path("runs/compare"),
    metric: Annotated[
        list[str] | None, typer.Option(help="Of the table. [default: the usual ones]")
    ] = None,
    recipe: options.Recipe = None,
    config: options.Config = None,
    dataset: options.Dataset = None,
    hierarchy: options.Hierarchy = None,
    epochs: options.Epochs = None,
    limit_train: Annotated[int | None, typer.Option(help="Images to train on.")] = None,
    device: options.Device = None,
    data_root: options.DataRoot = None,
    settings: options.Settings = None,
    json: options.Json = False,
) -> None:
    """Train many objectives on equal terms, and say what each gains and why.

    Those that know the hierarchy train again with its classes permuted: a gain that
    survives that is not knowledge. To repeat the command is to resume it. Writes
    compare.json and, with the extra `report`, compare.png.
    """
    from kfr.contest import advice, contenders, judge

    there = contenders(contender or STANDARD)
    runs = {
        (who, shuffled, seed): _planned(ctx.params, who, seed, shuffled=shuffled)
        for who in there
        for seed in range(seeds)
        for shuffled in (False, True)
        if not shuffled or (who.knows and control)
    }
    found: dict[str, list[Any]] = {who.name: [] for who in there}
    controls: dict[str, list[Any]] = {}
    for (who, shuffled, _), (run, folder) in runs.items():
        kept = controls.setdefault(who.name, []) if shuffled else found[who.name]
        kept.append(_values(run, folder, device))
    scores = judge(found, controls)
    text = advice(scores)
    _write(scores, text, out)
    if json:
        show_json({"scores": _plain(scores), "advice": text})
        return
    chosen = metric or ["accuracy", "mistake_severity", "hier_dist@1", "hier_dist@5"]
    _show(scores, [m for m in chosen if m in next(iter(scores.values()))])
    typer.echo(text)
    typer.echo(f"written: {out}/compare.json, {out}/compare.png")


def _planned(
    given: dict[str, Any], who: Any, seed: int, *, shuffled: bool
) -> tuple[Any, Path]:
    """Return the configuration and the folder of a run.

    Raises:
        KfrError: it makes no sense, or the run that is there was trained otherwise.
    """
    from kfr.contest import CONTROL, folder_of
    from kfr.errors import UsageError, listed
    from kfr.folders import differences
    from kfr.plugins import check
    from kfr.settings import read_toml, run_config

    folder = folder_of(given["out"], who, seed, control=shuffled)
    own = [*(given["settings"] or []), *who.settings, f"seed={seed}"]
    own += [f"shuffle={CONTROL + seed}"] if shuffled else []
    asked = {**given, "settings": own, "objective": list(who.objectives)}
    asked = {k: v for k, v in asked.items() if k not in {"seeds", "metric"}}
    chosen = run_config(options.gathered(asked, needed=options.RUN))
    for objective in chosen.objective:
        check("objective", objective)
    check("head", chosen.head)
    path = folder / "config.toml"
    changed = path.exists() and differences(run_config(read_toml(path)), chosen)
    if changed:
        raise UsageError(
            f"{folder} was trained otherwise; compare as it was, or choose another "
            f"--out:{listed(changed)}"
        )
    return chosen, folder


def _values(config: Any, folder: Path, device: str | None) -> Any:
    """Train a run, unless it is there, and return the values of each image."""
    from kfr.image_values import image_values

    train_once(config, folder)
    return image_values(folder, device=device or "auto")


def _write(scores: Any, text: str, out: Path) -> None:
    from kfr.contest_figure import contest_figure
    from kfr.errors import MissingError
    from kfr.files import write_whole

    content = json_text({"scores": _plain(scores), "advice": text})
    write_whole(out / "compare.json", content + "\n")
    try:
        contest_figure(scores, out / "compare.png")
    except MissingError as error:
        typer.echo(f"kfr: {error}", err=True)


def _plain(scores: Any) -> Any:
    return {
        name: {
            metric: {
                key: value._asdict() if hasattr(value, "_asdict") else value
                for key, value in score._asdict().items()
            }
            for metric, score in metrics.items()
        }
        for name, metrics in scores.items()
    }


def _show(scores: Any, metrics: list[str]) -> None:
    for metric in metrics:
        rows = [
            (
                name,
                _mean(by_metric[metric]),
                *(_gain(by_metric[metric], key) for key in ("gain", "survives")),
                _gain(by_metric[metric], "knowledge"),
            )
            for name, by_metric in scores.items()
        ]
        columns = ("", metric, "over the baseline", "with a shuffled tree", "knowledge")
        show_table(columns, rows)


def _mean(score: Any) -> str:
    spread = "" if isnan(score.deviation) else f" ± {score.deviation:.4f}"
    return f"{score.mean:.4f}{spread}"


def _gain(score: Any, key: str) -> str:
    gain = getattr(score, key)
    if gain is None:
        return ""
    mark = " *" if gain.sure else ""
    return f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]{mark}"
