"""The embedded data set `shapes`: 24 plane figures and simple things in WordNet."""

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field

from kfr.data import ImageTensor
from kfr.data.shapes_drawing import COLOURS, LABELS, SIZES, TEXTURES, draw

SPLITS = ("train", "test")  # their positions keep their seeds apart


def shapes(
    _: Path | None,
    split: Literal["train", "test"],
    *,
    train: Annotated[int, Field(ge=1)] = 12000,
    test: Annotated[int, Field(ge=1)] = 2400,
    size: Annotated[int, Field(ge=16)] = 48,
    seed: Annotated[int, Field(ge=0)] = 0,
) -> ImageTensor:
    """Draw one split with its boxes and attributes; a mirrored letter is none."""
    count = {"train": train, "test": test}[split]
    drawn = draw(count, seed=len(SPLITS) * seed + SPLITS.index(split), size=size)
    return ImageTensor(
        labels=LABELS,
        images=torch.from_numpy(drawn.images).permute(0, 3, 1, 2).contiguous(),
        targets=torch.from_numpy(drawn.targets),
        flip=False,
        boxes=torch.from_numpy(drawn.boxes),
        attributes={
            "colour": (COLOURS, torch.from_numpy(drawn.colours)),
            "texture": (TEXTURES, torch.from_numpy(drawn.textures)),
            "size": (SIZES, torch.from_numpy(drawn.sizes)),
        },
    )
