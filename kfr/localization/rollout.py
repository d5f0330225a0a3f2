"""Attention rollout: how much of each place reaches a transformer's class token."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from kfr.errors import PluginError
from kfr.localization import Explain
from kfr.localization.watching import as_maps, resting
from kfr.models import cvt


class Attended:
    """What every layer attends to in one call of a model, `[N, T, T]` each."""

    def __init__(self) -> None:
        self.looking = False
        self.layers: list[Tensor] = []

    def hooks(self, layer: nn.Module) -> list[RemovableHandle]:
        """Have a layer say what it attends to, if it can."""
        if isinstance(layer, nn.MultiheadAttention):
            return [
                layer.register_forward_pre_hook(self._ask, with_kwargs=True),
                layer.register_forward_hook(self._keep),
            ]
        if isinstance(layer, cvt.Attention):
            return [layer.register_forward_hook(self._work_out)]
        return []

    def _ask(self, layer: Any, given: Any, options: Any) -> Any:
        """Have torch return the attention, averaged over heads, which it is not to."""
        del layer
        return (given, {**options, "need_weights": True}) if self.looking else None

    def _keep(self, layer: Any, given: Any, output: Any) -> None:
        del layer, given
        if self.looking:
            self.layers.append(output[1].detach())

    def _work_out(self, layer: cvt.Attention, given: Any, output: Any) -> None:
        del output
        tokens, side = given
        if self.looking and tokens.shape[1] > side[0] * side[1]:
            self.layers.append(_attention(layer, tokens, side).detach())


@contextmanager
def rollout(
    model: nn.Module, *, residual: Annotated[float, Field(ge=0, lt=1)] = 0.5
) -> Iterator[Explain]:
    """Follow attention, averaged over heads, through all layers.

    Abnar & Zuidema, ACL 2020. Of torchvision's vision transformers, and of the last
    stage of CvT, the one with a class token; a key of half the resolution counts for
    all the places that it covers. `residual` is the share of a token that passes a
    layer by. Maps do not depend on the class.

    Raises:
        PluginError: the model is no such transformer.
    """
    attended = Attended()
    hooks = [hook for layer in model.modules() for hook in attended.hooks(layer)]
    if not hooks:
        raise PluginError(
            "rollout needs the attention of torchvision's vision transformers or of "
            "cvt-13; take gradcam, which any backbone allows"
        )

    def explain(images: Tensor, target: Tensor) -> Tensor:
        del target
        attended.layers, attended.looking = [], True
        try:
            with torch.no_grad(), resting(model):
                model(images)
        finally:
            attended.looking = False
        return as_maps(_rolled(attended.layers, residual)[:, :, None], images)[:, 0]

    try:
        yield explain
    finally:
        for hook in hooks:
            hook.remove()


def _rolled(layers: list[Tensor], residual: float) -> Tensor:
    """Return how much of each token is in the first one in the end, `[N, T]`."""
    reach = torch.zeros_like(layers[-1][:, 0]).float()
    reach[:, 0] = 1
    for attention in reversed(layers):
        seen = torch.einsum("nt,ntu->nu", reach, attention.float())
        reach = residual * reach + (1 - residual) * seen
    return reach


def _attention(layer: cvt.Attention, tokens: Tensor, side: tuple[int, int]) -> Tensor:
    """Return what CvT's attention gives each place, `[N, T, T]`, averaged over heads.

    What a key gets is divided among the places that it covers.
    """
    query, key, _ = layer.parts(tokens, side)
    seen = (query @ key.mT * query.shape[-1] ** -0.5).softmax(-1).mean(1)
    extra = tokens.shape[1] - side[0] * side[1]
    rows, columns = (torch.arange(n, device=tokens.device) // 2 for n in side)
    covering = (rows[:, None] * (columns[-1] + 1) + columns).flatten()
    covered = covering.bincount()
    places = (seen[:, :, extra:] / covered)[:, :, covering]
    return torch.cat((seen[:, :, :extra], places), 2)
