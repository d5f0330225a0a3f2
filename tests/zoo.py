"""A zoo of five classes below three others."""

from kfr import Hierarchy, LabelMapping, build_knowledge

PAIRS = [
    ("animal", "mammal"),
    ("mammal", "cat"),
    ("mammal", "dog"),
    ("animal", "bird"),
    ("bird", "parrot"),
    ("bird", "owl"),
    ("animal", "fish"),
]
CLASSES = ("cat", "dog", "parrot", "owl", "fish")


def known():
    """What is known of the zoo."""
    mapping = LabelMapping(dataset="zoo", nodes={name: name for name in CLASSES})
    return build_knowledge(Hierarchy.from_pairs(PAIRS), mapping)
