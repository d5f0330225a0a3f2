"""Several objectives on one data set and budget: what each gains, and why.

Every contender trains with every seed. Contenders that know the hierarchy train again
with its classes permuted: what they still gain then is not knowledge.
"""

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kfr.errors import UsageError
from kfr.objectives.companions import every, knows
from kfr.resampling import Floats, means, middle, times_drawn

Values = Mapping[str, Floats]  # metric -> value of each image [N], NaN: not counted

ALL = "all"
CONTROL = 1000  # the permutation of seed s is drawn from CONTROL + s
RESAMPLES = 1000
_SHARED = {"dataset", "data_root", "objective", "seed", "shuffle"}
_AT_ONCE = 50  # resamples whose counts are held together


class Contender(NamedTuple):
    """An objective, and what else differs from the other contenders."""

    name: str
    settings: tuple[str, ...]  # key=value
    objectives: tuple[str, ...]

    @property
    def knows(self) -> bool:
        """Whether the hierarchy has a part in it; a control would repeat others."""
        pairs = (setting.partition("=") for setting in self.settings)
        heads = [value.strip() for key, _, value in pairs if key.strip() == "head"]
        return knows(self.objectives, heads[-1] if heads else "linear")


class Gain(NamedTuple):
    """How much more than another, with the ends of the middle 95 % of resamples."""

    value: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


class Score(NamedTuple):
    """A metric of a contender, over its seeds."""

    mean: float
    deviation: float  # over seeds; NaN for one
    gain: Gain | None  # over the baseline
    survives: Gain | None  # what the control gains over the baseline
    knowledge: Gain | None  # what it gains over its control


def contender(text: str) -> Contender:
    """Read `OBJECTIVE + OBJECTIVE; key=value; ...`.

    Raises:
        UsageError: there is no objective in it, or a setting that is not its own.
    """
    first, *rest = [part.strip() for part in text.split(";")]
    objectives = tuple(o.strip() for o in first.split(" + ") if o.strip())
    if not objectives:
        raise UsageError(
            f"--contender {text!r} has no objective; write for example "
            "'cross_entropy + qtr,alpha=3; rate=1e-3'"
        )
    settings = tuple(part for part in rest if part)
    odd = [s for s in settings if keyed(s).partition(".")[0] in _SHARED]
    if odd:
        raise UsageError(
            f"--contender {text!r}: {odd[0]} cannot be one contender's own: images, "
            "seeds and the shuffled control are the same for all, and objectives stand "
            "before the first semicolon"
        )
    return Contender(text.strip(), settings, objectives)


def keyed(setting: str) -> str:
    """Return the key of `key=value`."""
    return setting.partition("=")[0].strip()


def contenders(texts: Sequence[str]) -> list[Contender]:
    """Read contenders, each once; `all` stands for every built-in objective."""
    spread = [one for text in texts for one in (every() if text == ALL else [text])]
    return list({who.name: who for who in map(contender, spread)}.values())


def folder_of(out: Path, who: Contender, seed: int, *, control: bool) -> Path:
    """Return where a run of the contest goes."""
    text = "".join(c if c.isalnum() or c in "=.+-_," else "_" for c in who.name)
    return out / text / f"{'shuffled' if control else 'seed'}-{seed}"


def judge(
    found: Mapping[str, Sequence[Values]],
    controls: Mapping[str, Sequence[Values]],
    *,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, Score]]:
    """Return the metrics that all contenders have; the first is the baseline.

    `found` and `controls` hold the values of each seed, of the same images. Images and
    seeds are resampled with replacement, the same for all, so that differences are
    paired (Efron & Tibshirani 1993, chapter 8 and 16).
    """
    baseline, *_ = found
    runs = [v for some in (found, controls) for seeds in some.values() for v in seeds]
    metrics = [m for m in runs[0] if all(m in values for values in runs)]
    own = _samples(found, metrics, resamples)
    shuffled = _samples(controls, metrics, resamples) if controls else {}
    return {
        name: {
            metric: _score(
                own[name, metric],
                None if name == baseline else own[baseline, metric],
                shuffled.get((name, metric)),
            )
            for metric in metrics
        }
        for name in found
    }


class _Sample(NamedTuple):
    """A metric of each seed `[S]`, and its mean over resampled seeds, images `[R]`."""

    seeds: Floats
    drawn: Floats

    @property
    def mean(self) -> float:
        return float(self.seeds.mean())

    @property
    def deviation(self) -> float:
        return float(self.seeds.std(ddof=1)) if len(self.seeds) > 1 else float("nan")

    def over(self, other: "_Sample") -> Gain:
        return Gain(self.mean - other.mean, *middle(self.drawn - other.drawn))


def _score(own: _Sample, base: _Sample | None, control: _Sample | None) -> Score:
    return Score(
        own.mean,
        own.deviation,
        own.over(base) if base else None,
        control.over(base) if control and base else None,
        own.over(control) if control else None,
    )


def _samples(
    found: Mapping[str, Sequence[Values]], metrics: Sequence[str], resamples: int
) -> dict[tuple[str, str], _Sample]:
    """Return every metric of every contender, resampled."""
    first = next(iter(found.values()))
    seeds, count = len(first), len(first[0][metrics[0]])
    columns = {
        name: np.stack([values[m] for values in runs for m in metrics], 1)
        for name, runs in found.items()
    }
    draw = np.random.default_rng(0)
    chosen = draw.integers(0, seeds, (resamples, seeds))
    parts: dict[str, list[Floats]] = {name: [] for name in found}
    for start in range(0, resamples, _AT_ONCE):
        rows = min(_AT_ONCE, resamples - start)
        times = times_drawn(count, rows, draw)
        for name, values in columns.items():
            by_seed = means(times, values).reshape(rows, seeds, len(metrics))
            at = chosen[start : start + rows]
            parts[name].append(np.take_along_axis(by_seed, at[..., None], 1).mean(1))
    return {
        (name, metric): _Sample(
            np.array([_mean(values[metric]) for values in found[name]]),
            np.concatenate(blocks)[:, i],
        )
        for name, blocks in parts.items()
        for i, metric in enumerate(metrics)
    }


def _mean(values: Floats) -> float:
    """Return the mean of what counts, 0 of nothing, as metrics do."""
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if len(counted) else 0.0


def spread(mean: float | None, deviation: float | None) -> str:
    """Return a mean with its deviation, where there is one, as text."""
    if mean is None:
        return ""
    known = deviation is not None and not isnan(deviation)
    return f"{mean:.4f} ± {deviation:.4f}" if known else f"{mean:.4f}"


def signed(gain: Gain) -> str:
    """Return a difference with its interval, as text."""
    return f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"


def gained(gain: Gain | None) -> str:
    """Return a difference with its interval, starred where 0 lies outside."""
    return "" if gain is None else signed(gain) + " *" * gain.sure


def advice(scores: Mapping[str, Mapping[str, Score]]) -> str:
    """Return a sentence on what the figures say, and no more than they do."""
    baseline, *others = scores
    if not others:
        return f"There is nothing but {baseline}: give another --contender."
    distance = next(m for m in ("hier_dist@5", "hier_dist@1") if m in scores[baseline])
    better = []
    for name in others:
        gain, lost = scores[name][distance].gain, scores[name]["accuracy"].gain
        if gain and lost and gain.high < 0 and lost.high >= 0:
            better.append((gain.value, name))
    if not better:
        return (
            f"No contender brings {distance} below that of {baseline} beyond chance "
            "without losing accuracy: on this budget, stay with it."
        )
    _, name = min(better)
    return f"Take {name}: {_why(scores[name][distance], distance, baseline)}"


def _why(score: Score, metric: str, baseline: str) -> str:
    gain, owed = score.gain or Gain(0.0, 0.0, 0.0), score.knowledge
    text = (
        f"{metric} falls by {-gain.value:.3g} [{-gain.high:.3g}, {-gain.low:.3g}] "
        f"against {baseline}, and accuracy does not fall beyond chance."
    )
    if owed is None:
        return f"{text} It was not held against a shuffled tree."
    if owed.high < 0:
        kept = max(1 - owed.value / gain.value, 0.0)
        return (
            f"{text} A shuffled tree gives {kept:.0%} of that: the rest is knowledge."
        )
    return f"{text} A shuffled tree gives as much: what it gains is not knowledge."
