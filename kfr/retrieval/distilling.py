"""Train a student of the backward search of a run."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kfr import checkpoints
from kfr.data.batches import seed_of
from kfr.errors import UsageError
from kfr.features import features_of
from kfr.knowledge import Knowledge
from kfr.models import Output
from kfr.recognition import load
from kfr.retrieval.backward import Reader, reader_of
from kfr.retrieval.embedding import fingerprint
from kfr.retrieval.lessons import Drawing, Lesson, lesson, store, stored
from kfr.retrieval.student import FILE, Student, save_student, student_for

_LESSON = 512  # searches at once
_HELD = 0.1  # share of the lessons, the last ones, that the student is tested with
_MOMENT = 1 << 20


class Settings(NamedTuple):
    """What a student depends on beside its run."""

    embedding: str = "unitsphere"
    weight: float = 1.1  # lambda
    searches: int = 10_240
    most: int = 2  # conditions at once
    nodes: float = 0.2
    negative: float = 0.1
    hidden: int = 128
    residual: bool = False
    epochs: int = 60
    batch: int = 128
    rate: float = 1e-3
    split: str = "train"
    seed: int = 0


class Done(NamedTuple):
    """How far the work is."""

    what: str  # searches, epochs
    number: int
    total: int
    figures: dict[str, float]


def distill(
    run: Path,
    settings: Settings | None = None,
    *,
    device: str = "auto",
    data_root: Path | None = None,
) -> Iterator[Done]:
    """Search for queries of the run's data, then train a student to end as they did.

    It learns by the mean squared error, with Adam, and is written into the run's
    folder, whole or not at all. What was done is kept there until then: stopped, the
    same call goes on, and comes to the same.

    Raises:
        UsageError: a setting makes no sense, or the model's head cannot be read.
    """
    settings = settings or Settings()
    _check(settings)
    recognizer = load(run, device)
    found = features_of(run, split=settings.split, device=device, data_root=data_root)
    place = next(recognizer.model.parameters()).device
    queries, logits = (
        torch.from_numpy(found[name]).to(place) for name in ("embeddings", "logits")
    )
    reader = reader_of(recognizer.model, Output(queries, logits))
    model = fingerprint(recognizer)
    about = {"model": model, **settings._asdict()}
    digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12]
    folder = run / f"student-{digest}"  # of what is under way
    yield from _searches(folder, reader, queries, recognizer.knowledge, settings)
    student = _fresh(recognizer.knowledge, queries, settings)
    figures: dict[str, float] = {}
    for done in _epochs(folder, student, queries, settings):
        figures = done.figures
        yield done
    save_student(student, run / FILE, {**about, "figures": figures})
    shutil.rmtree(folder)


def _fresh(knowledge: Knowledge, queries: Tensor, settings: Settings) -> Student:
    torch.manual_seed(settings.seed)
    made = student_for(
        knowledge,
        queries.shape[1],
        embedding=settings.embedding,
        hidden=settings.hidden,
        residual=settings.residual,
    )
    return made.to(queries.device)


def _check(settings: Settings) -> None:
    counts = ("searches", "most", "hidden", "epochs", "batch")
    low = [name for name in counts if getattr(settings, name) < 1]
    shares = ("nodes", "negative")
    odd = [name for name in shares if not 0 <= getattr(settings, name) <= 1]
    if low or odd:
        name = (low + odd)[0]
        wanted = "from 1 on" if low else "from 0 to 1"
        raise UsageError(f"{name} is {getattr(settings, name)}; give one {wanted}")


def _searches(
    folder: Path,
    reader: Reader,
    queries: Tensor,
    knowledge: Knowledge,
    settings: Settings,
) -> Iterator[Done]:
    """Store the lessons, but those that are there."""
    drawing = Drawing(knowledge, settings.nodes, settings.negative)
    most = min(settings.most, drawing.attributes)
    total = max(2 * most, -(-settings.searches // _LESSON))
    count = min(_LESSON, -(-settings.searches // total))
    for number in range(total):
        path = folder / f"lesson-{number:05d}.safetensors"
        if not path.exists():
            seed, size = seed_of(settings.seed, number), 1 + number % most
            asked = drawing.conditions(count, size, seed)
            store(lesson(reader, queries, asked, seed, settings.weight), path)
        yield Done("searches", number + 1, total, {})


def _epochs(
    folder: Path, student: Student, queries: Tensor, settings: Settings
) -> Iterator[Done]:
    """Train from where the last call stopped."""
    paths = sorted(folder.glob("lesson-*.safetensors"))
    held = max(min(settings.most, len(paths) // 2), round(_HELD * len(paths)))
    lessons = [stored(path) for path in paths]
    student.scale.fill_(_reach(lessons[:-held], queries, student))
    parts = _batches(lessons[:-held], settings.batch)
    optimizer = torch.optim.Adam(student.parameters(), settings.rate)
    state, begun = folder / "state.safetensors", 0
    if state.exists():
        begun = checkpoints.load(state, {"student": student}, optimizer)["epoch"]
    for number in range(begun + 1, settings.epochs + 1):
        draw = torch.Generator().manual_seed(seed_of(settings.seed, _MOMENT, number))
        student.train()
        for at in torch.randperm(len(parts), generator=draw).tolist():
            loss = _loss(student, queries, parts[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        figures = _tested(student, queries, lessons[-held:])
        modules = {"student": student}
        checkpoints.save(state, modules, optimizer, {"epoch": number, **figures})
        yield Done("epochs", number, settings.epochs, figures)
    if begun >= settings.epochs:
        figures = _tested(student, queries, lessons[-held:])
        yield Done("epochs", settings.epochs, settings.epochs, figures)


def _reach(lessons: list[Lesson], queries: Tensor, student: Student) -> float:
    """Return how large an output has to be, at least 1, as tanh is."""
    far = [
        (some.ends - queries.cpu()[some.items] * student.residual).abs().max()
        for some in lessons
    ]
    return max(1.0, float(torch.stack(far).max()))


def _batches(lessons: list[Lesson], size: int) -> list[Lesson]:
    """Divide lessons, each of which has as many conditions for all its queries."""
    return [
        Lesson(*parts)
        for some in lessons
        for parts in zip(*(tensor.split(size) for tensor in some), strict=True)
    ]


def _loss(student: Student, queries: Tensor, some: Lesson) -> Tensor:
    place = queries.device
    found = student(queries[some.items.to(place)], some.asked.to(place))
    return functional.mse_loss(found, some.ends.to(place))


@torch.no_grad()
def _tested(
    student: Student, queries: Tensor, lessons: list[Lesson]
) -> dict[str, float]:
    """Return error and cosine to the teacher, and those of the queries themselves."""
    student.eval()
    rows = []
    for some in lessons:
        q = queries[some.items.to(queries.device)]
        found, ends = student(q, some.asked.to(q.device)), some.ends.to(q.device)
        rows += [_apart(one, ends) for one in (found, q)]
    mse, cosine = (torch.stack(column) for column in zip(*rows, strict=True))
    return {
        "mse": float(mse[0::2].mean()),
        "cosine": float(cosine[0::2].mean()),
        "query_mse": float(mse[1::2].mean()),
        "query_cosine": float(cosine[1::2].mean()),
    }


def _apart(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    cosine = functional.cosine_similarity(one, other)
    return (one - other).square().mean(), cosine.mean()
