"""How far training is: a bar on a terminal, a line an epoch elsewhere; on stderr."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import TextColumn, TimeRemainingColumn

FIRST = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts


class Progress:
    """A context in which epochs are shown."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.console = Console(stderr=True)
        self.bars = bars(self.console, "batches")

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bars.stop()

    def watch(self, batches: Iterator[Any], number: int, steps: int) -> Iterable[Any]:
        """Pass an epoch's batches on, moving the bar."""
        title = f"epoch {number}/{self.epochs}"
        task = self.bars.add_task(title, total=steps)
        for batch in batches:
            yield batch
            self.bars.advance(task)
        self.bars.remove_task(task)

    def show(self, record: dict[str, Any]) -> None:
        """Print a finished epoch."""
        if not FIRST:
            return
        terms = {k[5:]: v for k, v in record.items() if k.startswith("loss/")}
        parts = "  ".join(f"{name} {value:.4f}" for name, value in terms.items())
        scores = [(k, v) for k, v in record.items() if k.endswith("/accuracy")]
        shown = "  ".join(f"{name} {value:.4f}" for name, value in scores)
        self.console.print(
            f"epoch {record['epoch']}/{self.epochs}  {parts}  {shown}  "
            f"{record['images_per_second']:.0f} images/s",
            highlight=False,
            soft_wrap=True,
        )


def bars(console: Console, of: str = "") -> Bars:
    """Return bars that say how many of how many; away from a terminal, none."""
    return Bars(
        *Bars.get_default_columns()[:2],
        TextColumn(f"{{task.completed}}/{{task.total}} {of}".rstrip()),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (console.is_terminal and FIRST),
    )


@contextmanager
def counted(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many of how many are done, on a terminal; elsewhere nothing."""
    with bars(Console(stderr=True)) as shown:
        task = shown.add_task(title, total=None)

        def watch(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        yield watch
