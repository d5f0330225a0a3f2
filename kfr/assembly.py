"""Everything a run works with, made from its configuration."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from kfr import data, models, parallel, plugins
from kfr.cache import known
from kfr.columns import columns, label_column
from kfr.config import RunConfig
from kfr.data import Dataset, ImageTensor, Normalization
from kfr.data.batches import Batches, measure
from kfr.data.images import MARGIN
from kfr.errors import DataError, MissingError, UsageError
from kfr.injection import informed
from kfr.knowledge import Knowledge, permuted, with_attributes
from kfr.models.weights import load_weights
from kfr.parallel.norm import synchronised
from kfr.sources import Source
from kfr.stepping import Stepper, Total, averaged
from kfr.training import Stage


@dataclass(frozen=True)
class Parts:
    """All that a run works with."""

    knowledge: Knowledge
    model: models.Classifier
    train: Batches
    checked: (
        Batches  # scored after every epoch: the validation part, else the test part
    )
    checked_name: str
    test: Batches
    image: Mapping[str, Any]  # how a model's images are made: size, margin, mean, std


def device_called(name: str) -> torch.device:
    """Return the device; `auto` is a GPU where there is one.

    Raises:
        MissingError: the device asked for is not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available()}
    there["mps"] = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device(next(d for d in ("cuda", "mps", "cpu") if there[d]))
    if not there.get(name.partition(":")[0], False):
        have = ", ".join(d for d, is_there in there.items() if is_there)
        raise MissingError(f"there is no device {name!r} here; there is {have}")
    return torch.device(name)


def classes_of(config: RunConfig) -> tuple[Dataset, Dataset]:
    """Return the training and the test part of the run's data set.

    Raises:
        DataError: they do not have the same classes.
    """
    train, test = (
        data.load(config.dataset, config.data_root, s) for s in ("train", "test")
    )
    if train.labels != test.labels:
        raise DataError("the training and the test part have different classes")
    return data.limit(train, config.limit_train, config.seed), test


def knowledge_for(config: RunConfig, labels: Sequence[str]) -> Knowledge:
    """Build what a run is to know of its classes, or find it in the cache."""
    found = known(
        Source.parse(config.hierarchy),
        config.dataset.name,
        labels,
        mapping=config.mapping,
        weighting=config.weighting,
        transform=config.transform,
        distance=config.distance,
        add_root=config.add_root,
    )
    label = label_column(config.dataset)
    if label is not None:
        found = replace(found, settings={**found.settings, "label": label})
    return informed(found, config.injection) if config.injection else found


def prepare(
    config: RunConfig,
    knowledge: Knowledge | None = None,
    image: Mapping[str, Any] | None = None,
) -> Parts:
    """Read data and knowledge and build the model, its weights set by the seed.

    `knowledge` and `image` are those of a run which has been begun.

    Raises:
        DataError: the data set has not the classes that the knowledge is of.
    """
    train, test = classes_of(config)
    device = device_called(config.device)
    attributes = columns(config.attributes, config.dataset, train, test)
    if knowledge is None:
        knowledge = with_attributes(knowledge_for(config, train.labels), attributes)
    if tuple(train.labels) != tuple(knowledge.labels):
        odd = sorted(set(train.labels) ^ set(knowledge.labels))
        raise DataError(
            "the data set does not have the classes that the run was begun with: "
            f"{', '.join(odd[:10]) or 'their order differs'}"
        )
    if attributes != knowledge.attributes:
        raise DataError(
            "the data set does not have the attributes that the run was begun with, "
            f"or not their values: {', '.join(knowledge.attributes)}"
        )
    checked = test
    if config.validation:
        kept, held = data.split_by_class(train, config.validation, config.seed)
        train, checked = train.take(kept), train.take(held)
    size = config.resize or train.size
    model = model_for(config, size, knowledge, device)
    if image is None:
        normalization = _normalization(train, model, config.seed)
    else:
        normalization = Normalization(tuple(image["mean"]), tuple(image["std"]))
    batches = _batches(config, knowledge, normalization, device)
    return Parts(
        knowledge,
        model,
        batches(train, training=True),
        batches(checked),
        "validation" if config.validation else "test",
        batches(test),
        {
            "size": size,
            "margin": 1.0 if isinstance(train, ImageTensor) else MARGIN,
            **normalization._asdict(),
        },
    )


def with_features(parts: Parts) -> Parts:
    """Return the parts with batches of features, each image's computed once.

    They are computed when first asked for, by the weights that the backbone has then.

    Raises:
        UsageError: the head asks for more than features.
    """
    if getattr(parts.model.head, "wants_maps", False):
        raise UsageError("features_once: this head needs maps beside features")
    names = ("train", "checked", "test")
    backbone = parts.model.backbone
    made = {n: replace(getattr(parts, n), features=backbone) for n in names}
    return replace(parts, **made)


def model_for(
    config: RunConfig, size: int, knowledge: Knowledge, device: torch.device
) -> models.Classifier:
    """Build the model on its device, all it draws following from the seed."""
    torch.manual_seed(config.seed)
    knowledge = taught(config, knowledge)
    model = models.build(config.backbone, config.head, size, knowledge)
    _check_attributes(model.head, config.head, knowledge)
    if config.weights:
        load_weights(model.backbone, config.weights)
    synchronised(model)
    if config.channels_last:
        model.to(memory_format=torch.channels_last)
    return model.to(device)


def _check_attributes(head: nn.Module, name: object, knowledge: Knowledge) -> None:
    wanted = knowledge.attributes.keys()
    if wanted and wanted != getattr(head, "attributes", {}).keys():
        raise UsageError(
            f"the head {name} does not learn {', '.join(wanted)}; take the head "
            "attributes and the objective attributes"
        )


def taught(config: RunConfig, knowledge: Knowledge) -> Knowledge:
    """Return what is taught: what is known, or a control with permuted classes."""
    if config.shuffle is None:
        return knowledge
    return permuted(knowledge, config.shuffle)


def _normalization(
    train: Dataset, model: models.Classifier, seed: int
) -> Normalization:
    """Return that of the data set, as published; else the backbone's; else measured."""
    own: Normalization | None = getattr(model.backbone, "normalization", None)
    return train.normalization or own or measure(train, seed)


def _batches(
    config: RunConfig,
    knowledge: Knowledge,
    normalization: Normalization,
    device: torch.device,
) -> Callable[..., Batches]:
    mixing = plugins.make("mixing", config.mixing, taught(config, knowledge))

    def batches(part: Dataset, *, training: bool = False) -> Batches:
        return Batches(
            part,
            min(config.batch_size, len(part)),
            normalization,
            device,
            config.seed,
            config.workers,
            config.augmentation,
            config.channels_last,
            rank=parallel.rank(),
            world=parallel.world(),
            size=config.resize,
            sampler=config.sampler if training else "shuffled",
            mixing=mixing if training else None,
            attributes=tuple(knowledge.attributes),
        )

    return batches


def stages(
    config: RunConfig, knowledge: Knowledge, device: torch.device
) -> list[Stage]:
    """Return the run's phases, their objectives built."""
    knowledge = taught(config, knowledge)
    made = []
    for phase in config.phases:
        terms = [
            (p.name, plugins.make("objective", p, knowledge))
            for p in phase.objective or ()
        ]
        names = [name for name, _ in terms]
        if len(set(names)) < len(names):
            terms = [(f"{name}#{i}", term) for i, (name, term) in enumerate(terms, 1)]
        total = Total(dict(terms)).to(device)
        chosen = phase.schedule or config.schedule
        schedule = plugins.make("schedule", chosen, phase.epochs)
        rate = phase.rate or config.rate
        made.append(Stage(phase.epochs, total, rate, schedule, phase.freeze))
    return made


def autocast_for(config: RunConfig, device: torch.device) -> torch.dtype | None:
    """Return the type that the model runs in: as asked for, or bf16 on CUDA."""
    if config.autocast == "auto":
        pays = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if pays else None
    kinds = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    return kinds[config.autocast]


def stepper_for(
    config: RunConfig,
    model: models.Classifier,
    optimizer: torch.optim.Optimizer,
    spread: nn.Module | None = None,
) -> Stepper:
    """Return what takes the steps of a run; `spread` is the model over devices."""
    called = model if spread is None else spread
    device = next(model.parameters()).device
    kind = autocast_for(config, device)
    return Stepper(
        model,
        optimizer,
        forward=torch.compile(called) if config.compile else called,
        autocast=kind,
        clip=config.clip,
        sam=config.sam,
        skip=config.on_nan == "skip",
        average=None if config.ema is None else averaged(model, config.ema),
        scaler=torch.amp.GradScaler(device.type) if kind is torch.float16 else None,
    )
