"""The outlines of the 24 figures of `shapes`, and the table of its classes.

An outline turns dials `u` `[N, 4]` in [0, 1) into N simple polygons `[N, V, 2]`: x
to the right, y down, any scale and place. The dials move it within its definition.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Outline = Callable[[Floats], Floats]
Point = tuple[Floats | float, Floats | float]

ROUND = 32  # vertices of a full turn: below a tenth of a pixel from a circle


class Figure(NamedTuple):
    """A class: its label, how to outline it, and how far it may be turned."""

    label: str
    outline: Outline
    turn: float  # degrees either way; an upright figure stays readable


def between(dial: Floats, low: float, high: float) -> Floats:
    """Stretch a dial of [0, 1) over low..high."""
    return low + (high - low) * dial


def either(dial: Floats) -> Floats:
    """-1 or 1, with equal chances."""
    return 2 * np.floor(2 * dial) - 1


def polygon(points: Sequence[Point]) -> Floats:
    """Stack vertices, each a number or one number a figure, to `[N, V, 2]`."""
    flat = np.broadcast_arrays(*(value for point in points for value in point))
    return np.stack(flat, axis=-1).reshape(-1, len(points), 2)


def arc(radius: Floats, degrees: Floats) -> Floats:
    """Points at `radius` and at `degrees` clockwise from the right, `[..., 2]`."""
    angle = np.radians(degrees)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def two_angled(alpha: Floats, beta: Floats) -> Floats:
    """A triangle on a base of length 1 with these angles, in degrees, at its ends."""
    a, b = np.tan(np.radians(alpha)), np.tan(np.radians(beta))
    return polygon([(0.0, 0.0), (1.0, 0.0), (b / (a + b), -a * b / (a + b))])


def equilateral_triangle(u: Floats) -> Floats:
    """Three angles of 60 degrees."""
    return two_angled(np.full(len(u), 60.0), np.full(len(u), 60.0))


def isosceles_triangle(u: Floats) -> Floats:
    """Two angles of 67 to 77 degrees: slimmer than the equilateral one."""
    legs = between(u[:, 0], 67, 77)
    return two_angled(legs, legs)


def right_triangle(u: Floats) -> Floats:
    """One leg 1.25 to 2.2 times the other."""
    return polygon([(0.0, 0.0), (between(u[:, 0], 1.25, 2.2), 0.0), (0.0, -1.0)])


def obtuse_triangle(u: Floats) -> Floats:
    """An angle of 103 to 130 degrees between sides of unequal lengths."""
    wide = between(u[:, 0], 103, 130)
    share = between(u[:, 1], 0.3, 0.42)
    return two_angled((180 - wide) * share, (180 - wide) * (1 - share))


def rectangle(u: Floats) -> Floats:
    """1.25 to 2.2 times as long as wide: never a square."""
    long = between(u[:, 0], 1.25, 2.2)
    return polygon([(0.0, 0.0), (long, 0.0), (long, 1.0), (0.0, 1.0)])


def slanted(long: Floats, degrees: Floats) -> Floats:
    """A parallelogram with sides 1 and `long` at an angle of `degrees`."""
    x, y = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return polygon([(0.0, 0.0), (long, 0.0), (long + x, y), (x, y)])


def rhombus(u: Floats) -> Floats:
    """Four equal sides at 45 to 72 degrees."""
    return slanted(np.ones(len(u)), between(u[:, 0], 45, 72))


def rhomboid(u: Floats) -> Floats:
    """Sides of ratio 1.3 to 2 at 48 to 70 degrees, leaning either way."""
    angle = between(u[:, 0], 48, 70)
    lean = 90 + either(u[:, 1]) * (90 - angle)
    return slanted(between(u[:, 2], 1.3, 2.0), lean)


def trapezoid(u: Floats) -> Floats:
    """A top 0.4 to 0.7 as long as the base, right above it or shifted."""
    top, height = between(u[:, 0], 0.4, 0.7), between(u[:, 1], 0.45, 0.8)
    left = (1 - top) * between(u[:, 2], 0.1, 0.9)
    return polygon([(0.0, 0.0), (1.0, 0.0), (left + top, -height), (left, -height)])


def equiangular(u: Floats, *, corners: int) -> Floats:
    """A polygon about a centre, its corners up to 10 % nearer or farther in turn."""
    wobble = 1 + 0.1 * np.sin(np.arange(corners) * 2.4 + 6.28 * u[:, :1])
    return arc(wobble, np.arange(corners) * 360 / corners - 90)


def circle(u: Floats) -> Floats:
    """A circle."""
    return arc(np.ones((len(u), ROUND)), np.arange(ROUND) * 360 / ROUND)


def semicircle(u: Floats) -> Floats:
    """Half a circle."""
    return arc(np.ones((len(u), 1 + ROUND // 2)), np.linspace(0, 180, 1 + ROUND // 2))


def heart(u: Floats) -> Floats:
    """The usual curve of sines and cosines, up to 15 % slimmer or wider."""
    t = np.radians(np.arange(ROUND) * 360 / ROUND)
    x = 16 * np.sin(t) ** 3 * between(u[:, :1], 0.85, 1.15)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack(np.broadcast_arrays(x, -y), axis=-1)


def star(u: Floats, *, points: int, low: float, high: float) -> Floats:
    """A star whose notches lie at low..high of its radius."""
    notch = between(u[:, :1], low, high)
    radius = np.where(np.arange(2 * points) % 2, notch, 1.0)
    return arc(radius, np.arange(2 * points) * 180 / points - 90)


def crescent(u: Floats) -> Floats:
    """A disc less a smaller one moved to the right."""
    shift, radius = between(u[:, 0], 0.4, 0.6), between(u[:, 1], 0.72, 0.85)
    x = (1 - radius**2 + shift**2) / (2 * shift)
    y = np.sqrt(1 - x**2)
    steps = np.linspace(0, 1, ROUND // 2)
    outer, inner = np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(y, x - shift))
    back = arc(
        np.ones((len(u), 1)), outer[:, None] + (360 - 2 * outer[:, None]) * steps
    )
    hollow = arc(radius[:, None], inner[:, None] + (360 - 2 * inner[:, None]) * steps)
    hollow[..., 0] += shift[:, None]
    return np.concatenate([back, hollow[:, -2:0:-1]], axis=1)


def spiral(u: Floats) -> Floats:
    """An arm of 1.7 to 2.2 turns, either way round."""
    turns = between(u[:, :1], 1.7, 2.2)
    angle = 360 * turns * np.linspace(0.12, 1, 2 * ROUND)
    middle, half = angle / 360, between(u[:, 1:2], 0.18, 0.26)
    rim, core = arc(middle + half, angle), arc(np.maximum(middle - half, 0), angle)
    band = np.concatenate([rim, core[:, ::-1]], axis=1)
    band[..., 1] *= either(u[:, 2:3])
    return band


def crossed(half: Floats, arm: Floats, top: Floats, foot: Floats) -> Floats:
    """A cross of bars 2 `half` wide, its arms this long from the crossing."""
    right = [(half, -top), (half, -half), (arm, -half)]
    lower = [(arm, half), (half, half), (half, foot)]
    mirrored = [(-x, y) for x, y in reversed(right + lower)]
    return polygon([*right, *lower, *mirrored])


def latin_cross(u: Floats) -> Floats:
    """The foot 1.4 to 2.4 times as long as the arms."""
    arm, foot = between(u[:, 0], 0.8, 1.0), between(u[:, 1], 1.4, 1.9)
    return crossed(between(u[:, 2], 0.18, 0.32), arm, arm, foot)


def greek_cross(u: Floats) -> Floats:
    """Four arms of the same length."""
    arm = np.ones(len(u))
    return crossed(between(u[:, 0], 0.18, 0.36), arm, arm, arm)


def maltese_cross(u: Floats) -> Floats:
    """Four arrow-shaped arms, their points at the centre, their ends notched."""
    spread, notch = between(u[:, 0], 21, 30), between(u[:, 1], 0.6, 0.85)
    arm = np.stack([-spread, 0 * spread, spread, 0 * spread + 45], axis=-1)
    radius = np.stack([0 * notch + 1, notch, 0 * notch + 1, 0 * notch + 0.14], axis=-1)
    turned = [arm + quarter for quarter in (0, 90, 180, 270)]
    return arc(np.tile(radius, 4), np.concatenate(turned, axis=1))


def letter_f(u: Floats) -> Floats:
    """Strokes a sixth to a quarter of the height; the middle one is shorter."""
    s, w = between(u[:, 0], 0.16, 0.25), between(u[:, 1], 0.55, 0.75)
    short, y = w * between(u[:, 2], 0.75, 0.95), between(u[:, 3], 0.42, 0.5)
    bars: list[Point] = [
        (w, 0.0),
        (w, s),
        (s, s),
        (s, y),
        (short, y),
        (short, y + s),
        (s, y + s),
    ]
    return polygon([(0.0, 0.0), *bars, (s, 1.0 + 0 * s), (0.0, 1.0)])


def letter_e(u: Floats) -> Floats:
    """An F with a foot as wide as its top."""
    f = letter_f(u)
    s, w = f[:, 3, 0], f[:, 1, 0]
    foot = polygon([(s, 1 - s), (w, 1 - s), (w, 1.0), (0.0, 1.0)])
    return np.concatenate([f[:, :8], foot], axis=1)


def arrow(u: Floats) -> Floats:
    """A shaft with a head that is 2 to 3.5 times as wide."""
    half, head = between(u[:, 0], 0.13, 0.2), between(u[:, 1], 0.4, 0.48)
    neck = between(u[:, 2], 0.1, 0.4)
    tip: list[Point] = [(neck, -head), (1.0, 0.0)]
    side: list[Point] = [
        (neck, head),
        (neck, half),
        (-0.8, half),
        (-0.8, -half),
        (neck, -half),
    ]
    return polygon([*tip, *side])


def umbrella(u: Floats) -> Floats:
    """A scalloped canopy on a shaft that ends in a hook."""
    half, long = between(u[:, 0], 0.06, 0.1)[:, None], between(u[:, 1], 0.75, 0.95)
    dome = arc(np.ones((len(u), ROUND // 2)), np.linspace(180, 360, ROUND // 2))
    scallop = [(0.86, -0.13), (0.67, -0.2), (0.48, -0.13), (0.33, 0.0), (0.2, -0.12)]
    right = np.tile(np.array(scallop), (len(u), 1, 1))
    bend = np.linspace(0, 180, 7)
    outer, inner = arc(0.2 + half, bend), arc(0.2 - half, bend[::-1])
    hook = np.concatenate([outer, inner], axis=1)
    hook += np.stack([0 * long - 0.2, long], axis=-1)[:, None]
    shaft = np.stack([np.hstack([half, -half]), np.full((len(u), 2), -0.15)], axis=-1)
    left = right[:, ::-1] * np.array([-1.0, 1.0])
    return np.concatenate([dome, right, shaft[:, :1], hook, shaft[:, 1:], left], axis=1)


FIGURES = (
    Figure("equilateral triangle", equilateral_triangle, 180),
    Figure("isosceles triangle", isosceles_triangle, 180),
    Figure("right triangle", right_triangle, 180),
    Figure("obtuse triangle", obtuse_triangle, 180),
    Figure("rectangle", rectangle, 180),
    Figure("rhombus", rhombus, 180),
    Figure("rhomboid", rhomboid, 180),
    Figure("trapezoid", trapezoid, 180),
    Figure("pentagon", partial(equiangular, corners=5), 180),
    Figure("hexagon", partial(equiangular, corners=6), 180),
    Figure("circle", circle, 180),
    Figure("semicircle", semicircle, 180),
    Figure("heart", heart, 45),
    Figure("pentacle", partial(star, points=5, low=0.36, high=0.5), 180),
    Figure("hexagram", partial(star, points=6, low=0.5, high=0.6), 180),
    Figure("crescent", crescent, 180),
    Figure("spiral", spiral, 180),
    Figure("Latin cross", latin_cross, 30),
    Figure("Greek cross", greek_cross, 30),
    Figure("Maltese cross", maltese_cross, 30),
    Figure("letter E", letter_e, 30),
    Figure("letter F", letter_f, 30),
    Figure("arrow", arrow, 180),
    Figure("umbrella", umbrella, 30),
)
