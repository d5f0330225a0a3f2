"""The same run with other knowledge, or none: what does the knowledge do?"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kfr.config import Phase, RunConfig
from kfr.contest import CONTROL
from kfr.embeddings import named
from kfr.errors import UsageError, suggest
from kfr.injection import option_words, words
from kfr.injection.facts import FILE, read_facts
from kfr.injection.scales import RELATION_TYPES, SCALES
from kfr.plugins import Plugin
from kfr.subject import classes_of, knowledge_for

log = logging.getLogger("kfr")

By = Literal["scale", "relation"]

NONE, LONGER, ALL, SHUFFLED = "none", "longer", "all", "shuffled"

_RELATIONS = "relations"
_ONE_TYPE = f"{_RELATIONS}:"
_ALIGNED, _PLAIN = "alignment", Plugin(name="cross_entropy")


def arms(config: RunConfig, by: By = "scale") -> dict[str, RunConfig]:
    """Return the runs to compare, by name.

    `none` has the bare backbone and the phases of cross-entropy, as all have them;
    `longer` has cross-entropy in place of alignment, too, for as many epochs in all.
    By scale: each alone, `all` as the run has it, and `shuffled`, where each class has
    the knowledge of another. By relation: `relations:is-a` and so on, each type of
    facts alone, `relations` with all of them, and `relations:shuffled`.

    Raises:
        UsageError: the run is given no knowledge by `scales`, or no relations.
    """
    told = config.injection
    if told is None or told.name != "scales":
        raise UsageError(
            "only what injection=scales,... gives a run can be left out of it; "
            f"this one has injection={told}"
        )
    changes = _by_scale(told) if by == "scale" else _by_relation(told)
    found = {arm: _with(config, change) for arm, change in changes.items()}
    bare = {NONE: without_knowledge(config)}
    longer = without_knowledge(config, as_long=True)
    if longer != bare[NONE]:
        bare[LONGER] = longer
    return bare | found


def control_of(by: By) -> tuple[str, str]:
    """Return the arm with all of the knowledge, and the one with it shuffled."""
    return (ALL, SHUFFLED) if by == "scale" else (_RELATIONS, _ONE_TYPE + SHUFFLED)


def chosen_arms(
    plan: Mapping[str, RunConfig], names: Sequence[str]
) -> Mapping[str, RunConfig]:
    """Return the runs called so, and `none`, which they are held against.

    All, without names.

    Raises:
        UsageError: there is no such run.
    """
    unknown = [name for name in names if name not in plan]
    if unknown:
        raise UsageError(
            f"there is no arm {unknown[0]!r}{suggest(unknown[0], plan)}; "
            f"there are {', '.join(plan)}"
        )
    return {n: c for n, c in plan.items() if not names or n in {NONE, *names}}


def with_seed(config: RunConfig, seed: int) -> RunConfig:
    """Return the run with a seed; a control's knowledge is shuffled by it, too."""
    config = config.model_copy(update={"seed": seed})
    if config.injection is None or "shuffle" not in config.injection.options:
        return config
    return _with(config, {"shuffle": CONTROL + seed})


def without_knowledge(config: RunConfig, *, as_long: bool = False) -> RunConfig:
    """Return the run with the bare backbone, and with nothing to align.

    Phases of nothing but alignment are left out; `as_long`, they train cross-entropy
    instead, under the same schedules (ours: the paper does not say).
    """
    backbone = config.backbone
    if backbone.name == "infused":
        inner = backbone.options.get("backbone", "small")
        backbone = Plugin.model_validate(
            inner if isinstance(inner, dict) else named(str(inner))
        )
    kept = [p for p in config.phase if as_long or not _aligns_alone(p, config)]
    changes = {
        "injection": None,
        "backbone": backbone,
        "objective": _unaligned(config.objective),
        "phase": tuple(_bare(phase) for phase in kept or config.phase),
    }
    return config.model_copy(update=changes)


def shortened(config: RunConfig, epochs: int | None) -> RunConfig:
    """Return the run with so many epochs in each of its phases."""
    if epochs is None:
        return config
    phases = tuple(p.model_copy(update={"epochs": epochs}) for p in config.phase)
    return config.model_copy(update={"epochs": epochs, "phase": phases})


def places(plan: Mapping[str, RunConfig]) -> list[str]:
    """Return after which layers any of the runs has knowledge; else the last."""
    bodies = [c.backbone for c in plan.values() if c.backbone.name == "infused"]
    found = [place for body in bodies for place in option_words(body, "at", "cam")]
    return list(dict.fromkeys(found)) or ["cam"]


def possible(plan: Mapping[str, RunConfig]) -> dict[str, RunConfig]:
    """Return the runs without those of one type of relations that has no facts.

    Raises:
        KfrError: what else is wrong with the knowledge of a run.
    """
    labels = classes_of(next(iter(plan.values())))[0].labels
    found = {}
    for name, config in plan.items():
        try:
            knowledge_for(config, labels)
        except UsageError as error:
            if not name.startswith(_ONE_TYPE):
                raise
            log.warning("%s is left out: %s", name, error)
            continue
        found[name] = config
    return found


def holding_out(config: RunConfig, wanted: str) -> RunConfig:
    """Return the run without images of some classes: so many, drawn, or named `a+b`.

    They are to be found by what is known of them, so that what the run aligns goes on
    to be aligned in all its phases (ours): the embeddings would move away from it.

    Raises:
        UsageError: there are not so many classes, or none is called so.
    """
    labels = classes_of(config)[0].labels
    if wanted.isdecimal():
        if not 1 < int(wanted) < len(labels):
            raise UsageError(
                f"hold out at least 2 of the {len(labels)} classes, and not all of them"
            )
        drawn = np.random.default_rng(0).permutation(len(labels))[: int(wanted)]
        names = [labels[k] for k in sorted(drawn.tolist())]
    else:
        names = words(wanted)
    terms = [p for phase in config.phases for p in phase.objective or ()]
    aligned = next((p for p in terms if p.name == _ALIGNED), Plugin(name=_ALIGNED))
    phases = tuple(_with_term(phase, config, aligned) for phase in config.phase)
    changes: dict[str, Any] = {"hold_out": tuple(names), "phase": phases}
    if not phases:
        changes["objective"] = _added(config.objective, aligned)
    return config.model_copy(update=changes)


def stages_of(config: RunConfig) -> str:
    """Return what a run trains, `15 alignment, 15 cross_entropy`."""
    told = [
        f"{p.epochs} {' + '.join(term.name for term in p.objective or ())}"
        for p in config.phases
    ]
    return ", ".join(told)


def _with_term(phase: Phase, config: RunConfig, term: Plugin) -> Phase:
    terms = config.objective if phase.objective is None else phase.objective
    return phase.model_copy(update={"objective": _added(terms, term)})


def _added(terms: Sequence[Plugin], term: Plugin) -> tuple[Plugin, ...]:
    return (*terms, *(() if any(p.name == term.name for p in terms) else (term,)))


def _by_scale(told: Plugin) -> dict[str, dict[str, Any]]:
    chosen = option_words(told, "only", "+".join(SCALES))
    there = [s for s in chosen if s != "wide" or told.options.get("attributes")]
    alone: dict[str, dict[str, Any]] = {scale: {"only": [scale]} for scale in there}
    return {**(alone if len(there) > 1 else {}), ALL: {}, SHUFFLED: {"shuffle": 0}}


def _by_relation(told: Plugin) -> dict[str, dict[str, Any]]:
    types = _relation_types(told)
    if len(types) < 2:  # noqa: PLR2004
        raise UsageError(
            f"there is but one type of relations, {', '.join(types) or 'none'}: give "
            "several, --set injection.relation_types=is-a+part-of"
        )
    only: dict[str, Any] = {"only": [_RELATIONS]}
    alone = {f"{_ONE_TYPE}{t}": {**only, "relation_types": [t]} for t in types}
    every, wrong = control_of("relation")
    return {**alone, every: only, wrong: {**only, "shuffle": 0}}


def _relation_types(told: Plugin) -> list[str]:
    """Return the types of facts; of a file, each relation that is in it."""
    types = option_words(told, "relation_types", RELATION_TYPES)
    file = told.options.get("triples")
    filed = dict.fromkeys(r for _, r, _ in read_facts(Path(str(file)))) if file else {}
    spread = [filed if kind == FILE else [kind] for kind in types]
    return list(dict.fromkeys(name for some in spread for name in some))


def _with(config: RunConfig, change: Mapping[str, Any]) -> RunConfig:
    told = config.injection or Plugin(name="scales")
    options = {**told.options, **change}
    injection = Plugin(name=told.name, options=options)
    return config.model_copy(update={"injection": injection})


def _aligns_alone(phase: Phase, config: RunConfig) -> bool:
    terms = config.objective if phase.objective is None else phase.objective
    return all(p.name == _ALIGNED for p in terms)


def _bare(phase: Phase) -> Phase:
    """Return a phase without alignment; what that had no use for is not held then."""
    if phase.objective is None or all(p.name != _ALIGNED for p in phase.objective):
        return phase
    changes = {"objective": _unaligned(phase.objective), "freeze": ()}
    return phase.model_copy(update=changes)


def _unaligned(terms: Sequence[Plugin]) -> tuple[Plugin, ...]:
    return tuple(p for p in terms if p.name != _ALIGNED) or (_PLAIN,)
