"""Targets that are learnt: a row of logits for each class, from a second classifier."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import relu

from kfr.errors import UsageError
from kfr.knowledge import Knowledge
from kfr.models import Output
from kfr.objectives import Objective
from kfr.objectives.precision import full
from kfr.objectives.targets import classes_of, cross_entropy, rows_of, value_of

Share = Annotated[float, Field(ge=0, le=1)]


def label_embedding(
    knowledge: Knowledge,
    *,
    tau: Annotated[float, Field(gt=0)] = 2.0,
    alpha: Share = 0.9,
    beta: Share = 0.5,
) -> Objective:
    """The label embedding network; needs the head `label_embedding`.

    Sun et al., arXiv 1710.05179:

    beta CE(o1, y) + (1 - beta) CE(o1, sg softmax(e_y)) + CE(o2, y)
    + [o2 right] B / #right CE(e_y, sg softmax(o2 / tau)) + relu(p_y - alpha),
    the mean over the batch. o1 are the logits, o2 those of a second classifier on the
    same features, without a gradient to them, and p = softmax(o2); sg stops gradients.
    e is learnt, `[C, C]`, the identity at first. Where images are mixed, e_y and p_y
    are means by their shares, and o2 is right if it says the class of the largest.
    """
    return LabelEmbedding(len(knowledge.labels), tau, alpha, beta)


class LabelEmbedding(nn.Module):
    """The loss and its label embeddings."""

    def __init__(self, classes: int, tau: float, alpha: float, beta: float) -> None:
        super().__init__()
        self.tau, self.alpha, self.beta = tau, alpha, beta
        self.labels = nn.Parameter(torch.eye(classes))

    def forward(self, output: Output, target: Tensor) -> Tensor:
        """Return the loss for classes `[B]`, or shares of them `[B, C]`.

        Raises:
            UsageError: the head has no second classifier.
        """
        if "detached_logits" not in output.extra:
            raise UsageError(
                "label_embedding needs a second classifier on the features: take "
                "--head label_embedding"
            )
        with torch.autocast(output.logits.device.type, enabled=False):
            o1, o2 = full(output.logits), full(output.extra["detached_logits"])
            own = rows_of(self.labels, target)
            soft = own.detach().softmax(1)
            value = self.beta * cross_entropy(o1, target).mean()
            value = value + (1 - self.beta) * cross_entropy(o1, soft).mean()
            value = value + cross_entropy(o2, target).mean()
            sure = value_of(o2.softmax(1), target)
            return (
                value + self._learnt(own, o2, target) + relu(sure - self.alpha).mean()
            )

    def _learnt(self, own: Tensor, o2: Tensor, target: Tensor) -> Tensor:
        """Draw the labels to what the second classifier says, where it is right."""
        right = (o2.argmax(1) == classes_of(target)).to(own.dtype)
        wanted = (o2.detach() / self.tau).softmax(1)
        each = cross_entropy(own, wanted)
        return (each * right).sum() / right.sum().clamp(min=1)
