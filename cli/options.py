"""The options that several commands share, and what they add up to."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

_TAXONOMY = "Hierarchy"

Run = Annotated[Path, typer.Argument(help="A run folder.")]

Hierarchy = Annotated[
    str | None,
    typer.Option(
        "--hierarchy",
        "--source",
        help="A file, or the name of a source: wordnet, nltk, ...",
        rich_help_panel=_TAXONOMY,
    ),
]
Dataset = Annotated[
    str | None, typer.Option(help="cifar100, cub, csv, ...: `kfr data list`.")
]
DataRoot = Annotated[
    Path | None, typer.Option(help="Where its files are; else $KFR_DATA.")
]
Mapping = Annotated[
    str | None,
    typer.Option(
        help="Label to node file (JSON, CSV), or `index`.", rich_help_panel=_TAXONOMY
    ),
]
Weighting = Annotated[
    str | None, typer.Option(help="Edge weights.", rich_help_panel=_TAXONOMY)
]
Transform = Annotated[
    str | None, typer.Option(help="The transform f_e.", rich_help_panel=_TAXONOMY)
]
Distance = Annotated[
    str | None, typer.Option(help="Class distance.", rich_help_panel=_TAXONOMY)
]
RUN = ("dataset", "hierarchy")  # what a run cannot do without

AddRoot = Annotated[
    bool | None,
    typer.Option("--add-root", help="Join several roots.", rich_help_panel=_TAXONOMY),
]
BreakCycles = Annotated[
    bool,
    typer.Option(
        "--break-cycles",
        help="Leave out the last edge of each cycle of a text file.",
        rich_help_panel=_TAXONOMY,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_DEVICES = typer.Option(help="auto, cpu, cuda, cuda:1, mps.")
Device = Annotated[str | None, _DEVICES]  # else that of the settings
RunDevice = Annotated[str, _DEVICES]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting: key=value, objective.qtr.alpha=3."),
]
OnBadImage = Annotated[
    str | None, typer.Option(help="Of a folder of images: error, skip, report.")
]
Config = Annotated[Path | None, typer.Option(help="A TOML file with settings.")]
Recipe = Annotated[
    str | None, typer.Option(help="Settings that ship with kfr: see `kfr recipes`.")
]

Seeds = Annotated[int, typer.Option(min=1, help="Runs of each, seeds 0, 1, ...")]
Epochs = Annotated[int | None, typer.Option(help="Of each run.")]


def gathered(
    given: dict[str, Any],
    base: Path | None = None,
    needed: tuple[str, ...] | None = None,
) -> dict[str, Any]:
    """Return what file, environment, --set and flags say, the nearest winning.

    `given` holds a command's parameters by name; those that a run has count as flags.
    `base` is a run whose configuration lies below them; where something is `needed`,
    the defaults do: ./kfr.toml, and the last build for what it does not say.
    """
    from kfr.config import RunConfig
    from kfr.defaults import completed
    from kfr.recipes import read_recipe
    from kfr.settings import combined, environment, layered, read_toml

    flags = {k: _plain(v) for k, v in given.items() if k in RunConfig.model_fields}
    config, settings = given.get("config"), list(given.get("settings") or [])
    if base:
        config = config or base / "config.toml"
    if given.get("on_bad_image"):
        settings.append(f"dataset.on_bad_image={given['on_bad_image']}")
    recipe = read_recipe(given["recipe"]) if given.get("recipe") else {}
    below = layered(recipe, read_toml(config) if config else {}, environment())
    complete = dict if needed is None else partial(completed, needed=needed)
    values = combined(below, settings, flags, complete)
    if given.get("break_cycles") and "hierarchy" in values:
        values["hierarchy"] = _with_cycles_broken(values["hierarchy"])
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return list(value) or None
    return str(value) if isinstance(value, Path) else value


def _with_cycles_broken(hierarchy: str) -> str:
    from kfr.plugins import Plugin
    from kfr.sources import Source

    source = Source.parse(hierarchy)
    options = {**source.plugin.options, "break_cycles": "true"}
    return str(Source(Plugin(name=source.plugin.name, options=options), source.path))


def for_knowledge(given: dict[str, Any]) -> dict[str, Any]:
    """Return what is asked for of knowledge, over the defaults of this folder."""
    return gathered(given, needed=("hierarchy",))


def for_run(given: dict[str, Any]) -> Any:
    """Return the configuration of a run, over the defaults of this folder.

    Raises:
        UsageError: naming each value that is wrong or missing.
    """
    from kfr.settings import run_config

    return run_config(gathered(given, needed=RUN))


def knowledge_of(values: dict[str, Any], *, cache: bool = True) -> Any:
    """Return the knowledge that `values` ask for; without a data set, of all leaves.

    Raises:
        UsageError: no hierarchy is given.
    """
    from kfr.cache import known
    from kfr.errors import UsageError
    from kfr.plugins import Plugin
    from kfr.sources import Source

    if "hierarchy" not in values:
        raise UsageError(
            "no hierarchy: give --hierarchy FILE or --source NAME, or build one first"
        )
    dataset = Plugin.parse(values["dataset"]) if "dataset" in values else None
    chosen = {
        key: values[key]
        for key in ("mapping", "weighting", "transform", "distance", "add_root")
        if key in values
    }
    root = values.get("data_root")
    return known(
        Source.parse(values["hierarchy"]),
        dataset.name if dataset else "leaves",
        _labels(dataset, Path(root) if root else None) if dataset else None,
        **chosen,
        cache=cache,
    )


def _labels(dataset: Any, root: Path | None) -> tuple[str, ...]:
    """Return the labels of a data set; of those kfr knows, without their images."""
    from kfr.mapping import LabelMapping, bundled_names

    if (
        dataset.name in bundled_names()
        and not {"part", "classes"} & dataset.options.keys()
    ):
        return LabelMapping.bundled(dataset.name).labels
    from kfr import data

    return data.load(dataset, root, "train").labels
