"""Small trees of animals, and slow ways of asking them."""

import math

import torch

from kfr import Hierarchy, LabelMapping, build_knowledge, plugins
from kfr.class_tree import class_tree
from kfr.models import Output

PAIRS = [
    ("animal", "mammal"),
    ("mammal", "cat"),
    ("mammal", "dog"),
    ("animal", "bird"),
    ("bird", "parrot"),
    ("bird", "owl"),
    ("bird", "hawk"),
    ("animal", "fish"),
]
CLASSES = ("cat", "dog", "parrot", "owl", "hawk", "fish")
PARENT = {child: parent for parent, child in PAIRS}
LEVELS = [  # of each class the group on every level, coarsest first
    {"cat": "mammal", "dog": "mammal", "parrot": "bird", "owl": "bird",
     "hawk": "bird", "fish": "fish"},
    {name: name for name in CLASSES},
]  # fmt: skip


FIVE = ("cat", "dog", "parrot", "owl", "fish")


def zoo(classes=CLASSES):
    """Return the knowledge of some classes."""
    mapping = LabelMapping(dataset="zoo", nodes={name: name for name in classes})
    return build_knowledge(Hierarchy.from_pairs(PAIRS), mapping)


def three(last):
    """Return what is known of cats and dogs, two steps apart; `last` is three away."""
    pairs = [("animal", "mammal"), ("animal", last), ("mammal", "cat")]
    nodes = {name: name for name in ("cat", "dog", last)}
    tree = Hierarchy.from_pairs([*pairs, ("mammal", "dog")])
    return build_knowledge(tree, LabelMapping(dataset="pets", nodes=nodes))


def way(name):
    """Return the nodes from below the root down to one."""
    return [*(way(PARENT[name]) if PARENT[name] != "animal" else []), name]


def below(node):
    return [c for c in CLASSES if node == "animal" or node in way(c)]


def siblings(node):
    return [child for child, parent in PARENT.items() if parent == PARENT[node]]


def softmax(values):
    most = max(values)
    total = sum(math.exp(v - most) for v in values)
    return [math.exp(v - most) / total for v in values]


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


TARGET = torch.tensor([0, 1, 2, 3, 4, 5, 0, 5])
NAMES = [CLASSES[y] for y in TARGET.tolist()]


def node_numbers(knowledge):
    """Return the number of every node in the tree."""
    tree = class_tree(knowledge)
    return {
        node: int(n)
        for y, name in enumerate(CLASSES)
        for node, n in zip(["animal", *way(name)], tree.ways[:, y], strict=False)
    }


def loss_of(text, knowledge, logits, extra=None, z=None):
    objective = plugins.make("objective", text, knowledge)
    z = logits if z is None else z
    return objective(Output(z, logits, extra or {}), TARGET).item()
