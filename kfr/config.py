"""A whole run as plain data."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from kfr.errors import KfrError
from kfr.plugins import Plugin

Values = dict[str, Any]
Plugins = Annotated[
    tuple[Plugin, ...],
    BeforeValidator(lambda v: [v] if isinstance(v, (str, Mapping)) else v),
]
Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)
]
Columns = Annotated[
    tuple[str, ...],
    BeforeValidator(
        lambda v: [name.strip() for name in v.split(",")] if isinstance(v, str) else v
    ),
]
KNOWLEDGE = (
    *("hierarchy", "dataset", "data_root", "mapping"),
    *("weighting", "transform", "distance", "add_root"),
)
PLUGGABLE = (
    *("hierarchy", "dataset", "weighting", "transform", "distance"),
    *("backbone", "head", "objective", "optimizer", "schedule"),
    *("augmentation", "mixing", "sampler", "logger", "injection"),
)
_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ConfigError(KfrError):
    """A configuration file does not say what it should."""


class Phase(BaseModel):
    """A stretch of training under one set of objectives; None: as the run says.

    `freeze` names parts of the model that stay as they are: `backbone`,
    `backbone.net.layer1`.
    """

    model_config = _STRICT

    epochs: PositiveInt
    objective: Plugins | None = None
    rate: PositiveFloat | None = None
    schedule: Plugin | None = None
    freeze: Names = ()


class RunConfig(BaseModel):
    """Everything a run depends on. `objective` terms add up.

    `batch_size` images go through the model at once, over all devices together;
    `accumulate` such batches make one step of the optimizer.
    """

    model_config = _STRICT

    dataset: Plugin
    hierarchy: str
    data_root: Path | None = None
    mapping: str | None = None
    weighting: Plugin = Plugin(name="uniform")
    transform: Plugin = Plugin(name="linear")
    distance: Plugin = Plugin(name="path")
    add_root: bool = False
    injection: Plugin | None = None
    attributes: Columns = ()  # of the data set's, learnt beside the class; or `all`

    backbone: Plugin = Plugin(name="small")
    weights: Annotated[
        str | None, BeforeValidator(lambda v: None if v == "none" else v)
    ] = None
    head: Plugin = Plugin(name="linear")
    objective: Plugins = (Plugin(name="cross_entropy"),)
    phase: tuple[Phase, ...] = ()

    epochs: NonNegativeInt = 10  # 0: what the weights are, without training
    batch_size: PositiveInt = 128
    accumulate: PositiveInt = 1
    optimizer: Plugin = Plugin(name="adamw")
    rate: PositiveFloat = 3e-3
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    weight_decay: NonNegativeFloat = 0.05
    schedule: Plugin = Plugin(name="one_cycle")
    clip: PositiveFloat | None = None
    sam: PositiveFloat | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    on_nan: Literal["stop", "skip"] = "stop"

    resize: PositiveInt | None = None
    shuffle: NonNegativeInt | None = None  # a control: teach permuted classes, by seed
    augmentation: Plugin = Plugin(name="auto")
    mixing: Plugin = Plugin(name="none")
    sampler: Plugin = Plugin(name="shuffled")
    limit_train: PositiveInt | None = None
    hold_out: Names = ()  # classes without images to train on; their labels stay
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    patience: PositiveInt | None = None

    features_once: bool = False  # of a backbone that is frozen all the time

    seed: NonNegativeInt = 0
    device: str = "auto"
    parallel: Literal["average", "ddp", "fsdp"] = "ddp"
    autocast: Literal["auto", "off", "bf16", "fp16"] = "auto"
    compile: bool = False
    channels_last: bool = True
    workers: NonNegativeInt = 2
    save_every: PositiveInt | None = None
    keep: PositiveInt = 1
    logger: Plugins = ()  # beside jsonl and csv

    @model_validator(mode="after")
    def _patience_needs_validation(self) -> Self:
        if self.patience and not self.validation:
            self.__dict__["validation"] = 0.1  # frozen only from here on
        return self

    @model_validator(mode="after")
    def _attributes_are_not_mixed(self) -> Self:
        if self.attributes and self.mixing.name != "none":
            raise ValueError("mixing mixes classes only: it goes not with attributes")
        return self

    @model_validator(mode="after")
    def _features_stay_the_same(self) -> Self:
        moves = any("backbone" not in phase.freeze for phase in self.phases)
        drawn = {self.augmentation.name, self.mixing.name} != {"none"}
        if self.features_once and (moves or drawn):
            raise ValueError(
                "features_once needs freeze = backbone in every phase, and "
                "augmentation and mixing = none"
            )
        return self

    @model_validator(mode="after")
    def _pretrained_needs_weights(self) -> Self:
        if self.head.name == "pretrained" and not self.weights:
            raise ValueError("head = pretrained needs weights: --weights")
        return self

    @model_validator(mode="after")
    def _no_average_of_parts(self) -> Self:
        if self.parallel == "fsdp" and (self.ema or self.autocast == "fp16"):
            raise ValueError("parallel = fsdp goes neither with ema nor with fp16")
        return self

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases with everything filled in: one, or none, where none is given."""
        one = (Phase(epochs=self.epochs),) if self.epochs else ()
        given = self.phase or one
        return tuple(
            Phase(
                epochs=p.epochs,
                objective=self.objective if p.objective is None else p.objective,
                rate=p.rate or self.rate,
                schedule=p.schedule or self.schedule,
                freeze=p.freeze,
            )
            for p in given
        )

    def to_toml(self) -> str:
        """Return the file that gives this configuration again."""
        values = {k: getattr(self, k) for k in type(self).model_fields}
        phases = values["phase"]
        if phases:  # else it says that there are none, whatever lies below this file
            del values["phase"]
        lines = [f"{k} = {as_toml(v)}" for k, v in values.items() if v is not None]
        for phase in phases:
            lines += ["", "[[phase]]"]
            lines += [f"{k} = {as_toml(v)}" for k, v in phase if v is not None]
        return "\n".join(lines) + "\n"


def as_toml(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, Plugin):
        return as_toml(value.written())
    if isinstance(value, Mapping):
        pairs = [f"{k} = {as_toml(v)}" for k, v in value.items() if v is not None]
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(as_toml, value))}]"
    text = str(value) if isinstance(value, Path) else value
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
