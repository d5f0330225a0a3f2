"""Time every objective against cross-entropy: `python bench/objectives.py [B]`.

Forward and backward of the loss and the head it needs on B = 256 random features of 512
numbers, for 100 and 1000 classes in a binary tree; on the CPU. `/ CE` is against
cross-entropy with a linear head, `step` what they make of a step of resnet18 at 32 px
with these: (that step + the difference) / that step, where 1.5 is the aim.
"""

import sys
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from timing import median_seconds
from torch import Tensor

from kfr import Hierarchy, LabelMapping, build_knowledge, plugins
from kfr.knowledge import Knowledge
from kfr.models import Classifier
from kfr.objectives.companions import BASE, COMPANIONS, objectives_of

WIDTH = 512
OTHERWISE = {  # what takes embeddings of the features' width, so that D is the same
    "alignment": f"alignment,num_dim={WIDTH}",
    "center": f"center,num_dim={WIDTH}",
    "hier": f"hier,num_dim={WIDTH}",
}
VARIANTS = {
    "contrastive": ["contrastive,p=1"],
    "cpcc": ["cpcc,geometry=poincare"],
    "pml:": ["pml:ContrastiveLoss"],
    "tree_supervision": ["tree_supervision,kind=hard"],
    "triplet": ["triplet,triplets=hard"],
}


def main() -> None:
    """Print a table."""
    torch.manual_seed(0)
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    table = Table(
        title=f"B = {size}, D = {WIDTH}, 100 and 1000 classes", title_justify="left"
    )
    table.add_column("objective", no_wrap=True)
    for count in (100, 1000):
        for heading in ("ms", "/ CE", "step"):
            table.add_column(f"{count}\n{heading}", justify="right")
    known = {count: knowledge(count) for count in (100, 1000)}
    step = {
        count: median_seconds(resnet_step(k, size), 3) for count, k in known.items()
    }
    plain = {
        n: median_seconds(loss("cross_entropy", "linear", k, size), 5)
        for n, k in known.items()
    }
    for name, head in objectives():
        row = []
        for count, k in known.items():
            seconds = median_seconds(loss(name, head, k, size), 3)
            ratio = (step[count] + seconds - plain[count]) / step[count]
            row += [
                f"{1e3 * seconds:.1f}",
                f"{seconds / plain[count]:.1f}",
                f"{ratio:.3f}",
            ]
        table.add_row(name, *row)
    Console(width=110).print(table)
    for count, seconds in step.items():
        Console().print(f"C = {count}: a step of resnet18 takes {1e3 * seconds:.0f} ms")


def objectives() -> list[tuple[str, str]]:
    """Return every built-in objective, and some variants, with their heads."""
    found = []
    for name in sorted(COMPANIONS, key=lambda name: (name != BASE, name)):
        head = "linear" if name in OTHERWISE else COMPANIONS[name].head
        text = OTHERWISE.get(name, objectives_of(name)[-1])
        found += [(one, head) for one in (text, *VARIANTS.get(name, []))]
    return found


def knowledge(classes: int) -> Knowledge:
    """Return a binary tree over the classes."""
    nodes = range(1, 2 * classes - 1)
    pairs = [(str((node - 1) // 2), str(node)) for node in nodes]
    leaves = {str(node): str(node) for node in range(classes - 1, 2 * classes - 1)}
    mapping = LabelMapping(dataset="binary", nodes=leaves)
    return build_knowledge(Hierarchy.from_pairs(pairs), mapping)


def loss(name: str, head: str, known: Knowledge, size: int) -> Callable[[], object]:
    """Return a function that computes head and loss, and the gradients."""
    layer = plugins.make("head", head, WIDTH, known)
    objective = plugins.make("objective", name, known)
    maps = (torch.randn(size, WIDTH, 4, 4),) if hasattr(layer, "wants_maps") else ()
    features = torch.randn(size, WIDTH, requires_grad=True)
    target = torch.randint(len(known.labels), (size,))
    return lambda: objective(layer(features, *maps), target).backward()


def resnet_step(known: Knowledge, size: int) -> Callable[[], object]:
    """Return a training step of resnet18 with cross-entropy."""
    backbone = plugins.make("backbone", "resnet18", 32)
    model = Classifier(backbone, plugins.make("head", "linear", backbone.width, known))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    objective = plugins.make("objective", "cross_entropy", known)
    images, target = torch.randn(size, 3, 32, 32), torch.randint(100, (size,))

    def step() -> Tensor:
        optimizer.zero_grad()
        found: Tensor = objective(model(images), target)
        found.backward()
        optimizer.step()
        return found

    return step


if __name__ == "__main__":
    main()
