"""Use a finished run: what is in these images, and where that stands in the tree."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from kfr import checkpoints, models
from kfr.assembly import device_called
from kfr.data import Normalization
from kfr.data.batches import normalized
from kfr.data.images import read_square
from kfr.folders import checkpoint_of
from kfr.knowledge import Knowledge, load_knowledge
from kfr.saving import load_used
from kfr.settings import config_of

_AT_ONCE = 64


class Answer(NamedTuple):
    """One of the classes a model sees in an image."""

    label: str
    node: str
    probability: float
    path: tuple[str, ...]  # names from the class up to a root


@dataclass(frozen=True)
class Recognizer:
    """A trained model with all it needs to answer."""

    model: models.Classifier
    knowledge: Knowledge
    normalization: Normalization
    size: int
    margin: float

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in index order."""
        return self.knowledge.labels

    @torch.inference_mode()
    def output(self, images: Tensor) -> models.Output:
        """Return what the model says about uint8 images `[N, 3, size, size]`."""
        device = next(self.model.parameters()).device
        self.model.eval()
        output: models.Output = self.model(
            normalized(images.to(device), self.normalization)
        )
        return output

    def predict(self, paths: Sequence[Path | str], top: int = 5) -> list[list[Answer]]:
        """Return the `top` likeliest classes of each image file, best first.

        Raises:
            DataError: a file cannot be read as an image.
        """
        answers: list[list[Answer]] = []
        for start in range(0, len(paths), _AT_ONCE):
            some = [Path(p) for p in paths[start : start + _AT_ONCE]]
            images = torch.stack([read_square(p, self.size, self.margin) for p in some])
            chances = self.output(images).logits.softmax(1).cpu()
            best = chances.sort(dim=1, descending=True, stable=True)
            rows = zip(best.values[:, :top], best.indices[:, :top], strict=True)
            answers += [self._answers(v.tolist(), k.tolist()) for v, k in rows]
        return answers

    def _answers(self, chances: list[float], classes: list[int]) -> list[Answer]:
        return [
            Answer(self.labels[k], self.knowledge.nodes[k], chance, self.path_of(k))
            for chance, k in zip(chances, classes, strict=True)
        ]

    def path_of(self, k: int) -> tuple[str, ...]:
        """Return the names on the shortest way from class k up to a root."""
        graph = self.knowledge.hierarchy
        way = graph.lineage(int(self.knowledge.at[k]))
        return tuple(graph.name(node) for node in way)


def load(run: Path | str, device: str = "auto") -> Recognizer:
    """Open a finished run.

    Raises:
        MissingError: there is no run, or it has no checkpoint yet.
        DataError: a file of it is damaged.
    """
    run = Path(run)
    config = config_of(run)
    path = checkpoint_of(run)
    image = checkpoints.facts(path)["image"]
    knowledge = load_knowledge(run / "knowledge.safetensors")
    model = models.build(config.backbone, config.head, image["size"], knowledge)
    load_used(path, model)
    normalization = Normalization(tuple(image["mean"]), tuple(image["std"]))
    return Recognizer(
        model.to(device_called(device)).eval(),
        knowledge,
        normalization,
        image["size"],
        image["margin"],
    )
