"""A small run that is given knowledge."""

from kfr.runs import train
from kfr.settings import run_config

PHASES = [
    {"epochs": 1, "objective": "alignment", "freeze": "head.classifier"},
    {"epochs": 1, "objective": ["cross_entropy", "alignment"]},
]
TWO_STAGES = [
    {"epochs": 3, "objective": "alignment", "freeze": "head.classifier"},
    {"epochs": 5, "objective": "cross_entropy"},
]
TINY = {
    "dataset": "shapes,train=96,test=48,size=32",
    "hierarchy": "wordnet",
    "injection": "scales,relations=transe+epochs=20",
    "backbone": "infused,backbone=small+width=16,at=stages.5",
    "head": "mlp,hidden=32",
    "phase": PHASES,
    "batch_size": 32,
    "device": "cpu",
    "workers": 0,
}
CLASSES = 24


def trained(out, **changes):
    config = run_config({**TINY, **changes})
    return config, list(train(config, out))
