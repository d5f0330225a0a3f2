"""Pixels of polygons and patterns, the same bytes on every machine.

Random numbers come from the raw PCG64 stream, which NumPy promises never to change.
Sines, whose last bit differs between machines, are rounded before use. Every other step
is elementwise IEEE arithmetic or a sum of integers, so no order of summation shows.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Layer = NDArray[np.float32]  # [N, size, size]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

ROWS = 4  # scan lines a pixel; along x the coverage is exact
GRID = 256  # steps a pixel to which vertices are rounded
HALF = 0.5  # coverage from which a pixel belongs to a figure
DOT = 0.1  # squared radius of a dot, in periods


class Dice:
    """Uniform random numbers for `count` images, from one stream."""

    def __init__(self, count: int, *key: int) -> None:
        self.count = count
        self.stream = np.random.PCG64(np.random.SeedSequence(key))

    def uniform(self, low: float, high: float, *shape: int) -> Floats:
        """Draw `[count, *shape]` values of low <= x < high."""
        raw = self.stream.random_raw(int(np.prod((self.count, *shape))))
        unit = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return (low + (high - low) * unit).reshape(self.count, *shape)

    def chance(self, share: float, *shape: int) -> Mask:
        """Draw `[count, *shape]` truths, this share of them true."""
        return self.uniform(0, 1, *shape) < share

    def below(self, limit: int, *shape: int) -> Integers:
        """Draw `[count, *shape]` whole numbers of 0 <= x < limit."""
        return np.floor(self.uniform(0, limit, *shape)).astype(np.int64)

    def grain(self, *shape: int) -> NDArray[np.int16]:
        """Draw `[count, *shape]` of triangular noise in -255..255, spread 104."""
        total = int(np.prod((self.count, *shape)))
        raw = self.stream.random_raw(-(-total // 4)).astype("<u8").view(np.uint8)
        pairs = raw[: 2 * total].reshape(2, self.count, *shape).astype(np.int16)
        noise: NDArray[np.int16] = pairs[0] + pairs[1] - np.int16(255)
        return noise


def direction(degrees: Floats) -> tuple[Floats, Floats]:
    """Cosine and sine, rounded so that all machines agree."""
    angle = np.radians(degrees)
    return np.rint(np.cos(angle) * 4096) / 4096, np.rint(np.sin(angle) * 4096) / 4096


def turned(vertices: Floats, degrees: Floats) -> Floats:
    """Turn polygons `[N, V, 2]` clockwise about the origin."""
    cos, sin = (part[:, None] for part in direction(degrees))
    x, y = vertices[..., 0], vertices[..., 1]
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)


def centred(vertices: Floats) -> Floats:
    """Move each polygon's box to the origin, its farthest vertex at distance 1."""
    middle = vertices.max(axis=1, keepdims=True) + vertices.min(axis=1, keepdims=True)
    moved = vertices - middle / 2
    reach = np.sqrt(moved[..., 0] ** 2 + moved[..., 1] ** 2).max(axis=1)
    scaled: Floats = moved / reach[:, None, None]
    return scaled


def coverage(vertices: Floats, size: int) -> Layer:
    """How much of each pixel a simple polygon covers, 0 to 1; `[N, V, 2]` in pixels."""
    corner = np.rint(vertices * GRID).astype(np.int64)
    x0, y0 = corner[..., 0], corner[..., 1]
    x1, y1 = np.roll(x0, -1, axis=1), np.roll(y0, -1, axis=1)
    lines = (np.arange(size * ROWS) * 2 + 1) * GRID // (2 * ROWS)
    below = y0[..., None] <= lines
    image, edge, line = np.nonzero(below != (y1[..., None] <= lines))
    ax, ay, bx, by = (end[image, edge] for end in (x0, y0, x1, y1))
    cross = ax + (lines[line] - ay) * (bx - ax) // (by - ay)
    cell, part = np.divmod(np.clip(cross, 0, size * GRID), GRID)
    sign = np.where(by > ay, 1, -1)
    width = size + 2
    slot = (image * size + line // ROWS) * width + cell
    slots = np.concatenate([slot, slot + 1])
    steps = np.concatenate([sign * (GRID - part), sign * part])
    total = np.bincount(slots, steps, minlength=len(vertices) * size * width)
    inside = np.cumsum(total.reshape(-1, size, width), axis=2)[..., :size]
    return (np.abs(inside) / (GRID * ROWS)).astype(np.float32)


def thinned(layer: Layer, rounds: int) -> Layer:
    """Take `rounds` pixels off the rim of what a layer covers."""
    for _ in range(rounds):
        wide = np.pad(layer, ((0, 0), (1, 1), (1, 1)))
        rows = np.minimum(np.minimum(wide[:, :-2], wide[:, 1:-1]), wide[:, 2:])
        layer = np.minimum(np.minimum(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])
    return layer


def ramp(degrees: Floats, size: int) -> Floats:
    """Distance in pixels from the middle of the image along a direction."""
    cos, sin = (part[:, None, None] for part in direction(degrees))
    steps = np.arange(size) + 0.5 - size / 2
    return cos * steps[None, None, :] + sin * steps[None, :, None]


def pattern(kind: Integers, degrees: Floats, period: Floats, size: int) -> Layer:
    """0 or 1 a pixel: plain, striped, checked or dotted, as `kind` 0 to 3 says."""
    pitch = period[:, None, None]
    u, v = ramp(degrees, size) / pitch, ramp(degrees + 90, size) / pitch
    odd_u, odd_v = (np.floor(axis * 2).astype(np.int64) & 1 for axis in (u, v))
    du, dv = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5
    choices = [0 * odd_u, odd_u, odd_u ^ odd_v, du * du + dv * dv < DOT]
    drawn = np.choose(kind[:, None, None], choices)
    return drawn.astype(np.float32)


def blotches(nodes: Floats, size: int) -> Layer:
    """Spread a coarse grid `[N, K, K]` smoothly over the image."""
    place = (np.arange(size) + 0.5) / size * (nodes.shape[1] - 1)
    low = np.floor(place).astype(np.int64)
    share = place - low
    rows = nodes[:, low] * (1 - share)[:, None] + nodes[:, low + 1] * share[:, None]
    both = rows[..., low] * (1 - share) + rows[..., low + 1] * share
    return np.asarray(both, dtype=np.float32)


def softened(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blur `[N, 3, size, size]` with the weights 1 2 1 both ways."""
    wide = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    rows = wide[:, :, :-2] + 2 * wide[:, :, 1:-1] + wide[:, :, 2:]
    both: NDArray[np.float32] = rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]
    return both / np.float32(16)


def visible(layer: Layer) -> Mask:
    """The pixels of which at least half are covered."""
    return layer >= np.float32(HALF)


def tight_boxes(mask: Mask) -> Integers:
    """First and last column and row of each mask, `[N, 4]` as x0, y0, x1, y1."""
    columns, rows = np.any(mask, axis=1), np.any(mask, axis=2)
    size = mask.shape[1] - 1
    first = [columns.argmax(axis=1), rows.argmax(axis=1)]
    last = [size - line[:, ::-1].argmax(axis=1) for line in (columns, rows)]
    return np.stack([*first, *last], axis=1).astype(np.int64)
