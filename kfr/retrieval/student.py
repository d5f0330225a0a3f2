"""A small network that says in one pass where a backward search would end.

Distilled from the search as its teacher (Backward Search, PLoS ONE 19(9) e0310098).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kfr.embeddings import class_embedding
from kfr.errors import DataError, MissingError, UsageError
from kfr.files import load_arrays, save_arrays
from kfr.knowledge import Knowledge
from kfr.recognition import Recognizer
from kfr.retrieval.backward import Reader, Walk, losses_of
from kfr.retrieval.conditions import spans_of

FORMAT = 1
FILE = "student.safetensors"  # in the folder of its run


class Student(nn.Module):
    """From queries and conditions to embeddings, `[query ; conditions]` -> 128 -> 128.

    `table` `[V, E]` has a row for each class and for each value of each attribute. A
    condition is the mean of the rows that it allows, so that a node of the hierarchy,
    and what is left by what is forbidden, are put as a class is; of several conditions
    on one attribute the mean is taken. The result is `scale` times tanh; with
    `residual` it is added to the query.
    """

    table: Tensor
    blocks: Tensor
    scale: Tensor

    def __init__(
        self,
        width: int,
        table: Tensor,
        blocks: Tensor,
        *,
        hidden: int = 128,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.residual = width, residual
        self.layers = nn.Sequential(
            nn.Linear(width + table.shape[1], hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, width),
            nn.Tanh(),
        )
        self.register_buffer("table", table)
        self.register_buffer("blocks", blocks)
        self.register_buffer("scale", torch.ones(()))

    def forward(self, queries: Tensor, allowed: Tensor) -> Tensor:
        """Return embeddings `[B, D]` of queries `[B, D]`.

        `allowed` is `[c, V]` for all queries, or `[B, c, V]`.
        """
        asked = self._asked(allowed.to(self.table.device))
        if asked.ndim == 1:
            asked = asked.expand(len(queries), -1)
        found: Tensor = self.scale * self.layers(torch.cat([queries, asked], 1))
        return queries + found if self.residual else found

    def _asked(self, allowed: Tensor) -> Tensor:
        """Return conditions as points, `[E]` or `[B, E]`."""
        sets = allowed.float()
        on = (sets @ self.blocks.T > 0).float()  # [..., c, A], what each is about
        share = (on / on.sum(-2, keepdim=True).clamp(min=1)).sum(-1, keepdim=True)
        weights = share * sets / sets.sum(-1, keepdim=True).clamp(min=1)
        return weights.sum(-2) @ self.table


def student_for(
    knowledge: Knowledge,
    width: int,
    *,
    embedding: str = "unitsphere",
    hidden: int = 128,
    residual: bool = False,
) -> Student:
    """Return an untrained student of what a run knows.

    Classes are put as points of a class embedding, values of attributes as one-hot;
    with `onehot` classes are, too, as in the paper. Points that keep distances let it
    answer for nodes that it has not seen.
    """
    points = torch.from_numpy(class_embedding(embedding, knowledge)).float()
    spans = spans_of(knowledge)
    count = max(span.stop for span in spans.values())
    rest = torch.eye(count - len(points))
    blocks = torch.zeros(len(spans), count)
    for row, span in zip(blocks, spans.values(), strict=True):
        row[span] = 1
    table = torch.block_diag(points, rest) if len(rest) else points
    return Student(width, table, blocks, hidden=hidden, residual=residual)


def leap(reader: Reader, queries: Tensor, allowed: Tensor, student: "Trained") -> Walk:
    """Return the way of a student: the queries, and where it puts them."""
    q = queries.detach().clone().float()
    path = torch.stack([q, student(q, allowed).to(q.device)])
    with torch.no_grad():
        given = q, allowed.to(q.device), student.weight
        loss = torch.stack([losses_of(reader, z, *given) for z in path])
    return Walk(path, loss, torch.ones(len(q), dtype=torch.int64, device=q.device))


@dataclass(frozen=True)
class Trained:
    """A student, and what it was trained for."""

    student: Student
    about: dict[str, Any]

    @property
    def weight(self) -> float:
        """The lambda of its teacher."""
        return float(self.about["weight"])

    @torch.inference_mode()
    def __call__(self, queries: Tensor, allowed: Tensor) -> Tensor:
        """Return where the search of its teacher would end, `[B, D]`."""
        found: Tensor = self.student(queries.float(), allowed.to(queries.device))
        return found


def save_student(student: Student, path: Path, about: dict[str, Any]) -> None:
    """Write one file, whole or not at all."""
    arrays = {name: t.cpu().numpy() for name, t in student.state_dict().items()}
    shape = {"width": student.width, "residual": student.residual}
    save_arrays(path, arrays, {"student": FORMAT, **about, **shape})


def load_student(run: Path, model: str, device: torch.device | str = "cpu") -> Trained:
    """Read the student of a run, whose model has the fingerprint `model`.

    Raises:
        MissingError: it has none.
        UsageError: it is another model's.
        DataError: the file is damaged.
    """
    path = run / FILE
    if not path.is_file():
        raise MissingError(f"{run} has no student; make one: kfr distill {run}")
    arrays, about = load_arrays(path)
    if about.get("student") != FORMAT:
        raise DataError(f"{path} is no student that this kfr reads")
    if about["model"] != model:
        raise UsageError(f"{path} is of another model; make one: kfr distill {run}")
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    student = Student(
        about["width"],
        tensors["table"],
        tensors["blocks"],
        hidden=len(tensors["layers.0.weight"]),
        residual=about["residual"],
    )
    student.load_state_dict(tensors)
    return Trained(student.to(device).eval(), about)


def student_of(
    run: Path, model: str, recognizer: Recognizer, weight: float | None = None
) -> Trained:
    """Read the student of a run beside its recognizer, for the lambda it has.

    Raises:
        UsageError: another lambda is asked for.
    """
    found = load_student(run, model, next(recognizer.model.parameters()).device)
    if weight not in {None, found.weight}:
        raise UsageError(
            f"the student was made for lambda {found.weight}, not {weight}; leave out "
            f"--lambda, search without --student, or: kfr distill {run} --lambda "
            f"{weight}"
        )
    return found
