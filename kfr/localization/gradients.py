"""Class activation maps, of classes and of nodes: how a score depends on each place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from kfr.errors import PluginError
from kfr.localization import Explain, Explainer, Score, score_of
from kfr.localization.watching import Watch, as_maps, watched

# (activations, gradients, both [B, K, h, w]) -> maps [B, h, w]
Draw = Callable[[Tensor, Tensor], Tensor]

_NEAR = 1e-3  # relative error up to which features are the mean of a map


def gradcam(
    model: nn.Module, *, score: Score = "logit", relu: bool = True
) -> Explainer:
    """Weigh channels by their mean gradient (Selvaraju et al., ICCV 2017, eq. 1 and 2).

    Of a transformer, the channels of its tokens at the places of the image.
    """

    def draw(maps: Tensor, gradients: Tensor) -> Tensor:
        weights = gradients.mean((2, 3), keepdim=True)
        drawn = (weights * maps).sum(1)
        return drawn.relu() if relu else drawn

    return _by_gradient(model, score, draw)


def gradcam_plus_plus(model: nn.Module, *, score: Score = "logit") -> Explainer:
    """Weigh each place's gradient on its own (Chattopadhay et al., WACV 2018, eq. 19).

    The score is e^S, whose higher derivatives are powers of the gradient of S; e^S
    itself, a factor of the whole map, is left out.
    """

    def draw(maps: Tensor, gradients: Tensor) -> Tensor:
        square, cube = gradients**2, gradients**3
        below = 2 * square + maps.sum((2, 3), keepdim=True) * cube
        alpha = torch.where(below == 0, 0, square / below.where(below != 0, 1))
        weights = (alpha * gradients.relu()).sum((2, 3), keepdim=True)
        return (weights * maps).sum(1).relu()

    return _by_gradient(model, score, draw)


def layercam(model: nn.Module, *, score: Score = "logit") -> Explainer:
    """Weigh values by their own positive gradient (Jiang et al., TIP 2021, eq. 5)."""

    def draw(maps: Tensor, gradients: Tensor) -> Tensor:
        return (gradients.relu() * maps).sum(1).relu()

    return _by_gradient(model, score, draw)


@contextmanager
def cam(model: nn.Module, *, score: Score = "logit") -> Iterator[Explain]:
    """Weigh channels as the linear classifier after them does (Zhou et al., CVPR 2016).

    A node's weights are those of its classes, each as much as it has of their mass.

    Raises:
        PluginError: the head is not linear; when called, the features are not the mean
            of the `cam_layer`'s places.
    """
    classifier = _linear(model)
    with watched(model) as watch:

        def explain(images: Tensor, target: Tensor) -> Tensor:
            seen, output = watch.look(images)
            maps = as_maps(seen.detach(), images).float()
            features = output.embedding.detach().float()
            _same(features, maps.mean((2, 3)))
            with torch.inference_mode(False), torch.enable_grad():
                logits = output.logits.detach().requires_grad_()
                total = score_of(logits, target.clone(), score).sum()
                (share,) = torch.autograd.grad(total, logits)
            weights = share.float() @ classifier.weight.detach().float()
            return torch.einsum("bk,bkhw->bhw", weights, maps)

        yield explain


@contextmanager
def _by_gradient(model: nn.Module, score: Score, draw: Draw) -> Iterator[Explain]:
    with watched(model) as watch:

        def explain(images: Tensor, target: Tensor) -> Tensor:
            seen, gradients = _gradients(watch, images, target, score)
            maps, slopes = (as_maps(v, images).float() for v in (seen, gradients))
            return draw(maps, slopes)

        yield explain


def _gradients(
    watch: Watch, images: Tensor, target: Tensor, score: Score
) -> tuple[Tensor, Tensor]:
    seen, output = watch.look(images)
    with torch.inference_mode(False), torch.enable_grad():
        total = score_of(output.logits, target.clone(), score).sum()
        (gradients,) = torch.autograd.grad(total, seen)
    return seen.detach(), gradients


def _linear(model: nn.Module) -> nn.Linear:
    head = getattr(model, "head", None)
    classifier = getattr(head, "classifier", None)
    bare = isinstance(getattr(head, "projection", None), nn.Identity)
    if not (bare and isinstance(classifier, nn.Linear)):
        raise PluginError(
            f"cam needs the head `linear`, not {type(head).__name__} with layers "
            "before its classifier; take gradcam, which any head allows"
        )
    return classifier


def _same(features: Tensor, means: Tensor) -> None:
    near = features.shape == means.shape and (
        (features - means).norm() <= _NEAR * means.norm().clamp(min=1e-12)
    )
    if not near:
        raise PluginError(
            "cam needs features that are the mean of the cam_layer's places, and this "
            "backbone's are not; take gradcam, which any backbone allows"
        )
