"""A plain network for small images: convolutions, averages, no shortcuts."""

from typing import Annotated

from pydantic import Field
from torch import nn

from kfr.models.averaged import Averaged

STAGES = ((64, 64), (128, 128, 128), (256, 256, 256), (512,))


def plain11(
    _: int,
    *,
    width: Annotated[int, Field(gt=0)] = 512,
) -> nn.Module:
    """Eleven layers with the classifier, no shortcut (Barz & Denzler 2018, Plain-11).

    "Deep Learning is not a Matter of Depth but of Good Training"; batch normalisation
    follows the activation.
    """
    layers: list[nn.Module] = []
    inputs = 3
    for stage in STAGES:
        for outputs in stage:
            layers += _unit(nn.Conv2d(inputs, outputs, 3, padding=1), outputs)
            inputs = outputs
        layers.append(nn.AvgPool2d(2))
    maps = nn.Sequential(*layers[:-1])  # the last average is over all
    linear = nn.Linear(inputs, width)
    fc = nn.Sequential(linear, nn.ReLU(inplace=True), nn.BatchNorm1d(width))
    return Averaged(maps, fc, width)


def _unit(convolution: nn.Conv2d, outputs: int) -> list[nn.Module]:
    nn.init.xavier_uniform_(convolution.weight)
    return [convolution, nn.ReLU(inplace=True), nn.BatchNorm2d(outputs)]
