"""Time boxes of heat maps at many thresholds: `python bench/boxes.py`.

The peer is the plain loop: OpenCV's threshold, findContours and boundingRect of every
contour, map by map and threshold by threshold, on one thread. `all contours` is the
sweep of MaxBoxAccV2, `largest` that of MaxBoxAcc. The boxes of both are compared.
"""

import cv2
import numpy as np
from timing import compare, show

from kfr.localization.boxes import normalized_maps
from kfr.localization.sweeps import sweep

MAPS, SIDE, REPEATS = 1000, 224, 1
TAUS = np.arange(100) / 100
KINDS = {"7 x 7 places": 7, "14 x 14 places": 14, "noise of 56 x 56": 56}


def main() -> None:
    """Print the table."""
    rows = []
    for name, places in KINDS.items():
        count = MAPS if places < 50 else MAPS // 20
        maps = drawn(count, places)
        for every in (True, False):
            what = "all contours" if every else "largest"

            def ours(maps=maps, every=every, threads=None) -> object:
                return sweep(maps, TAUS, every=every, threads=threads)

            def plain(maps=maps, every=every) -> list[list[tuple]]:
                return [boxes for m in maps for boxes in looped(m, every)]

            same = agree(ours(), plain())
            title = f"{count} maps, {name}, {what}"
            rows.append(
                compare(title, plain, ours, REPEATS, ">= 2" if every else "> 1")
            )
            one = compare(f"{title}, one thread", plain, lambda: ours(threads=1), 1)
            rows.append(one)
            print(f"{title}: {same} of {count * len(TAUS)} thresholds agree")
    show(f"Boxes of {SIDE} x {SIDE} maps at {len(TAUS)} thresholds", rows)


def looped(map: np.ndarray, every: bool) -> list[list[tuple]]:
    """Return x, y and the far corner of the boxes of a map at each threshold."""
    levels = (map * 255).astype(np.uint8)
    most, found = int(levels.max()), []
    for tau in TAUS:
        _, mask = cv2.threshold(levels, int(tau * most), 255, cv2.THRESH_BINARY)
        contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        if not every:
            contours = [max(contours, key=cv2.contourArea)]
        spans = [cv2.boundingRect(contour) for contour in contours]
        last = SIDE - 1
        found.append(
            [(x, y, min(x + w, last), min(y + h, last)) for x, y, w, h in spans]
        )
    return found


def drawn(count: int, places: int) -> np.ndarray:
    """Return maps like class activation maps: blobs and noise, ReLU, upsampled."""
    draw = np.random.default_rng(0)
    at = np.arange(places)
    maps = []
    for _ in range(count):
        values = 0.15 * draw.normal(size=(places, places))
        for _ in range(draw.integers(1, 4)):
            x, y = draw.uniform(0, places, 2)
            width = places * draw.uniform(0.1, 0.25)
            square = (at - x)[None] ** 2 + (at - y)[:, None] ** 2
            values += draw.uniform(0.4, 1) * np.exp(-square / (2 * width**2))
        values = np.maximum(values, 0).astype(np.float32)
        maps.append(cv2.resize(values, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))
    return normalized_maps(np.stack(maps))


def agree(swept, plain) -> int:
    """Return at how many thresholds the boxes are the same, in whatever order."""
    parts = np.split(swept.corners, swept.counts.ravel().cumsum()[:-1])
    pairs = zip(parts, plain, strict=True)
    return sum(sorted(a.tolist()) == sorted(map(list, b)) for a, b in pairs)


if __name__ == "__main__":
    main()
