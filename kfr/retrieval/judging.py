"""How well a run's searches answer queries, its student's among them."""

import logging
from collections.abc import Sequence
from pathlib import Path

from kfr.recognition import load
from kfr.retrieval.baselines import Mover
from kfr.retrieval.embedding import fingerprint
from kfr.retrieval.evaluating import Trial, tried
from kfr.retrieval.queries import Query
from kfr.retrieval.stage import staged
from kfr.retrieval.student import FILE, Trained, load_student

STUDENT = "student"
_USUAL = 1.1  # lambda

log = logging.getLogger("kfr")


def judged(
    run: Path,
    queries: Sequence[Query],
    *,
    split: str = "test",
    k: int = 10,
    weight: float | None = None,
    include_query: bool = False,
    device: str = "auto",
    data_root: Path | None = None,
) -> Trial:
    """Search a split of a run's data set for all queries in all ways, and score it.

    Without a weight (lambda) it is that of the run's student, else 1.1. A student of
    another lambda is left out.

    Raises:
        DataError: a query is not in the split.
        UsageError: there is no such split, or the head cannot be read.
    """
    student = _student(run, device)
    if weight is None:
        weight = student.weight if student else _USUAL
    stage, taught = staged(run, split, device=device, data_root=data_root)
    others: dict[str, Mover] = {}
    if student and student.weight == weight:
        others[STUDENT] = _mover(student)
    elif student:
        log.warning(
            "the student is left out: it was made for lambda %g, not %g",
            student.weight,
            weight,
        )
    return tried(
        stage,
        taught,
        queries,
        k=k,
        weight=weight,
        include_query=include_query,
        others=others,
    )


def _student(run: Path, device: str) -> Trained | None:
    if not (run / FILE).is_file():
        return None
    recognizer = load(run, device)
    place = next(recognizer.model.parameters()).device
    return load_student(run, fingerprint(recognizer), place)


def _mover(student: Trained) -> Mover:
    return lambda asked: student(asked.embedding, asked.allowed)
