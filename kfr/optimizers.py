"""Which parameters move, how fast each, and by which rule."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn
from torch.distributed.tensor import DTensor

from kfr import plugins
from kfr.plugins import Plugin

Groups = list[dict[str, Any]]
Beta = Annotated[float, Field(ge=0, lt=1)]


def adamw(groups: Groups, *, beta1: Beta = 0.9, beta2: Beta = 0.999) -> Any:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""
    return torch.optim.AdamW(groups, betas=(beta1, beta2), fused=_fused(groups))


def adam(groups: Groups, *, beta1: Beta = 0.9, beta2: Beta = 0.999) -> Any:
    """Adam, weight decay added to the gradient (Kingma & Ba 2015)."""
    return torch.optim.Adam(groups, betas=(beta1, beta2), fused=_fused(groups))


def sgd(groups: Groups, *, momentum: Beta = 0.9, nesterov: bool = True) -> Any:
    """Stochastic gradient descent, with Nesterov's momentum (Sutskever et al. 2013)."""
    # Not fused: that fails where some parameters, frozen before, have no momentum yet.
    return torch.optim.SGD(
        groups, momentum=momentum, nesterov=nesterov and momentum > 0
    )


def optimizer_for(
    modules: Iterable[nn.Module],
    rate: float,
    weight_decay: float,
    plugin: Plugin | str = "adamw",
    *,
    layer_decay: float = 1.0,
) -> torch.optim.Optimizer:
    """Return an optimizer of all the modules' parameters; biases and norms not decayed.

    A group's `scale` is its factor on the rate: `layer_decay` to the number of layers
    behind it (Howard & Ruder 2018; Bao et al. 2022), 1 in the head and the objectives.
    """
    groups: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
    seen: set[int] = set()
    for module in modules:
        for parameter, behind in _placed(module):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                spread = isinstance(parameter, DTensor)  # a fused step mixes them not
                key = parameter.ndim > 1, layer_decay**behind, spread
                groups.setdefault(key, []).append(parameter)
    made = [
        {
            "params": parameters,
            "weight_decay": weight_decay if decays else 0.0,
            "scale": scale,
            "lr": rate * scale,
        }
        for (decays, scale, _), parameters in sorted(
            groups.items(), key=lambda item: item[0], reverse=True
        )
    ]
    found: torch.optim.Optimizer = plugins.make("optimizer", plugin, made)
    return found


def layers(module: nn.Module) -> list[nn.Module]:
    """Return the layers of a backbone, from the image on.

    A stack is looked into, a block of it counts as one: a ResNet has its stem's two and
    its residual blocks.
    """
    found: list[nn.Module] = []
    for child in module.children():
        if _is_stack(child):
            found += layers(child)
        elif any(True for _ in child.parameters()):
            found.append(child)
    return found


def _is_stack(module: nn.Module) -> bool:
    """Tell what holds blocks, itself or further in, from a block."""
    if _is_list(module) and any(map(_has_children, module.children())):
        return True
    return any(
        _is_list(inner) and len({type(c) for c in inner.children()}) < _blocks(inner)
        for inner in module.modules()
    )


def _is_list(module: nn.Module) -> bool:
    return isinstance(module, (nn.Sequential, nn.ModuleList))


def _has_children(module: nn.Module) -> bool:
    return any(True for _ in module.children())


def _blocks(module: nn.Module) -> int:
    return sum(map(_has_children, module.children()))


def _placed(module: nn.Module) -> Iterator[tuple[nn.Parameter, int]]:
    """Yield each parameter with the number of layers between it and the head."""
    backbone = getattr(module, "backbone", None)
    stack: Sequence[nn.Module] = layers(backbone) if backbone is not None else ()
    behind = {
        id(parameter): len(stack) - i
        for i, layer in enumerate(stack)
        for parameter in layer.parameters()
    }
    inside = {id(p) for p in backbone.parameters()} if backbone is not None else set()
    for parameter in module.parameters():
        first = len(stack) + 1 if id(parameter) in inside else 0
        yield parameter, behind.get(id(parameter), first)


def _fused(groups: Groups) -> bool:
    kinds = {p.device.type for group in groups for p in group["params"]}
    return kinds <= {"cpu", "cuda"}
