"""Pictures of 24 figures, with the box, colour, texture and size of each.

`draw` is a pure function of its arguments; it needs numpy only.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kfr.data.shapes_outlines import FIGURES, Figure
from kfr.data.shapes_pixels import (
    Dice,
    Floats,
    Integers,
    Layer,
    Mask,
    blotches,
    centred,
    coverage,
    pattern,
    ramp,
    softened,
    thinned,
    tight_boxes,
    turned,
    visible,
)

Canvas = NDArray[np.float32]  # [N, 3, size, size], 0 to 255

LABELS = tuple(figure.label for figure in FIGURES)
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")
TEXTURES = ("plain", "striped", "checked", "dotted", "outlined")
SIZES = ("small", "medium", "large")

RGB = np.array(
    [
        (205, 45, 45),
        (235, 130, 30),
        (225, 205, 50),
        (50, 150, 65),
        (45, 85, 200),
        (135, 60, 160),
        (238, 238, 235),
        (28, 28, 32),
    ],
    dtype=np.float64,
)
REACH = np.array([(9.5, 12.0), (13.0, 16.0), (17.0, 21.0)])  # px at 48 px
OUTLINED = TEXTURES.index("outlined")
CLUTTER = 3  # pieces behind the figure, at most
PRESENT = 0.6  # share of the pieces that are there
COVERED = 0.75  # share of the images in which a piece may lie before the figure
BLURRED = 0.35  # share of the images that are blurred
SLIVERS = 0.4  # share of the pieces that are slivers
PALE = 380.0  # sum of channels from which the second colour is a darker one


class Shapes(NamedTuple):
    """Images `[N, size, size, 3]` and, `[N]` each, what they show; boxes `[N, 4]`."""

    images: NDArray[np.uint8]
    targets: Integers
    boxes: Integers
    colours: Integers
    textures: Integers
    sizes: Integers


class Look(NamedTuple):
    """What is decided about each of N images before it is drawn."""

    colour: Integers
    texture: Integers
    size: Integers
    ink: Floats  # [N, 3]


def draw(count: int, *, seed: int, size: int = 48) -> Shapes:
    """Draw `count` images in a shuffled order, as many of each class up to one."""
    kinds = len(FIGURES)
    parts = [
        portray(kind, len(range(kind, count, kinds)), seed=seed, size=size)[0]
        for kind in range(min(kinds, count))
    ]
    key = Dice(count, seed, kinds).stream.random_raw(count)
    order = np.argsort(key, kind="stable")
    return Shapes(
        *(np.concatenate(fields)[order] for fields in zip(*parts, strict=True))
    )


def portray(kind: int, count: int, *, seed: int, size: int) -> tuple[Shapes, Mask]:
    """Draw `count` images of one class and the visible pixels `[N, size, size]`."""
    dice = Dice(count, seed, kind)
    look = choose_look(dice)
    figure = coverage(place(FIGURES[kind], look, dice, size), size)
    canvas = background(look.ink, dice, size)
    for _ in range(CLUTTER):
        paint(canvas, piece(dice, size), strange_colour(look.ink, dice))
    fill(canvas, figure, look, dice, size)
    cover = occluder(figure, dice, size)
    paint(canvas, cover, strange_colour(look.ink, dice))
    mask = visible(figure * (1 - cover))
    targets = np.full(count, kind, dtype=np.int64)
    images = develop(canvas, dice)
    attributes = look.colour, look.texture, look.size
    return Shapes(images, targets, tight_boxes(mask), *attributes), mask


def choose_look(dice: Dice) -> Look:
    """Decide the attributes and the exact colour."""
    colour, texture = dice.below(len(COLOURS)), dice.below(len(TEXTURES))
    ink = np.clip(RGB[colour] + dice.uniform(-22, 22, 3), 0, 255)
    return Look(colour, texture, dice.below(len(SIZES)), ink)


def place(figure: Figure, look: Look, dice: Dice, size: int) -> Floats:
    """Outline the figure, turn it, scale it and put it inside the image."""
    raw = figure.outline(dice.uniform(0, 1, 4))
    whole = turned(centred(raw), dice.uniform(-figure.turn, figure.turn))
    low, high = REACH[look.size].T
    reach = low + (high - low) * dice.uniform(0, 1)
    sized = whole * (reach * size / 48)[:, None, None]
    first, last = sized.min(axis=1), sized.max(axis=1)
    room = size - 2 - (last - first)
    corner = 1 + room * dice.uniform(0, 1, 2)
    placed: Floats = sized + (corner - first)[:, None, :]
    return placed


def strange_colour(ink: Floats, dice: Dice) -> Floats:
    """Of two random colours the one farther from the figure's, `[N, 3]`."""
    one, other = dice.uniform(0, 255, 3), dice.uniform(0, 255, 3)
    near = distance(one, ink) < distance(other, ink)
    return np.where(near[:, None], other, one)


def distance(one: Floats, other: Floats) -> Floats:
    """How far apart colours `[N, 3]` are, channel by channel."""
    gap = np.abs(one - other)
    total: Floats = gap[:, 0] + gap[:, 1] + gap[:, 2]
    return total


def paint(canvas: Canvas, alpha: Layer, colour: Floats) -> None:
    """Lay one colour an image over the canvas where alpha says."""
    pigment = colour.astype(np.float32)[:, :, None, None]
    canvas += alpha[:, None] * (pigment - canvas)


def background(ink: Floats, dice: Dice, size: int) -> Canvas:
    """Two colours in a plain, graded, patterned or blotchy mixture."""
    first = strange_colour(ink, dice)
    second = np.clip(first + dice.uniform(-60, 60, 3), 0, 255)
    style, angle = dice.below(4), dice.uniform(0, 360)
    graded = np.clip(ramp(angle, size) / size + 0.5, 0, 1)
    motif = pattern(1 + dice.below(3), angle, dice.uniform(5, 14) * size / 48, size)
    cloudy = blotches(dice.uniform(0, 1, 7, 7), size)
    choices = np.stack([0 * motif, graded.astype(np.float32), motif, cloudy])
    mixture = choices[style, np.arange(dice.count)]
    canvas = np.empty((dice.count, 3, size, size), dtype=np.float32)
    canvas[:] = first[:, :, None, None]
    paint(canvas, mixture, second)
    return canvas


def piece(dice: Dice, size: int) -> Layer:
    """Clutter: a sliver or a lump of five corners, or nothing at all."""
    corners = 5
    steps = np.arange(corners) * 360 / corners + dice.uniform(-25, 25, corners)
    radius = dice.uniform(0.5, 1, corners)
    lump = turned(np.stack([radius, 0 * radius], -1).reshape(-1, 1, 2), steps.ravel())
    lump = lump.reshape(-1, corners, 2) * dice.uniform(2, 6, 1, 1)
    sliver = np.where(dice.chance(SLIVERS, 1, 1), (2.5, 0.25), (1.0, 1.0))
    shaped = turned(lump * sliver, dice.uniform(0, 360)) * (size / 48)
    shown = dice.chance(PRESENT, 1, 1)
    return coverage(np.where(shown, shaped + dice.uniform(0, size, 1, 2), 0), size)


def occluder(figure: Layer, dice: Dice, size: int) -> Layer:
    """A strip or spot before the figure that leaves most of it to be seen."""
    spot = piece(dice, size)
    whole = np.count_nonzero(visible(figure), axis=(1, 2))
    left = np.count_nonzero(visible(figure * (1 - spot)), axis=(1, 2))
    shown = dice.chance(COVERED) & (left * 4 > whole * 3)
    spot[~shown] = 0
    return spot


def fill(canvas: Canvas, figure: Layer, look: Look, dice: Dice, size: int) -> None:
    """Paint the figure in its colour and a paler or darker second one."""
    alpha = figure.copy()
    hollow = np.flatnonzero(look.texture == OUTLINED)
    alpha[hollow] -= thinned(figure[hollow], max(1, round(2 * size / 48)))
    paint(canvas, alpha, look.ink)
    kind = np.where(look.texture == OUTLINED, 0, look.texture)
    period = dice.uniform(5, 9) * size / 48
    motif = pattern(kind, dice.uniform(0, 360), period, size)
    dark = look.ink[:, :1] + look.ink[:, 1:2] + look.ink[:, 2:] < PALE
    shade = look.ink + np.where(dark, 1.0, -1.0) * dice.uniform(45, 100, 1)
    paint(canvas, alpha * motif, np.clip(shade, 0, 255))


def develop(canvas: Canvas, dice: Dice) -> NDArray[np.uint8]:
    """Blur some images, lower the contrast, add noise; `[N, size, size, 3]`."""
    soft = np.flatnonzero(dice.chance(BLURRED))
    canvas[soft] = softened(canvas[soft])
    contrast = dice.uniform(0.6, 1.0, 1, 1, 1).astype(np.float32)
    middle = dice.uniform(100, 155, 1, 1, 1).astype(np.float32)
    canvas -= 128
    canvas *= contrast
    canvas += middle
    strength = dice.uniform(0.02, 0.17, 1, 1, 1).astype(np.float32)
    canvas += dice.grain(*canvas.shape[1:]) * strength
    pixels = np.rint(np.clip(canvas, 0, 255)).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
