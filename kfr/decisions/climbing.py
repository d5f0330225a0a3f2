"""Decisions for a class or, where that is not sure enough, for what lies above."""

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from kfr.ancestry import ways_down
from kfr.decisions import (
    BLOCK,
    Answers,
    Decision,
    Given,
    HeldOut,
    chances_of,
    covered,
)
from kfr.decisions.risk import allowed_errors, lowest_threshold
from kfr.errors import UsageError
from kfr.information import information_content
from kfr.knowledge import Knowledge
from kfr.metrics import Predictions

Share = Annotated[float, Field(gt=0, lt=1)]


def expected_depth(
    knowledge: Knowledge,
    *,
    reward: Literal["depth", "information"] = "depth",
    bonus: Annotated[float, Field(ge=0)] = 0.0,
) -> Decision:
    """The node that promises most: its probability times its depth.

    argmax_n (r(n) + bonus) sum of p over the classes that n covers; r is the fewest
    steps from a root over the most there are, or the `information` content. The larger
    the bonus, the nearer to the root (DARTS; Deng et al., CVPR 2012, with bonus as
    lambda). Of equal ones the deepest, then the first.
    """
    graph = knowledge.hierarchy
    depth = torch.from_numpy(graph.depth).double()
    worth = depth / depth.max().clamp(min=1)
    if reward == "information":
        worth = torch.from_numpy(information_content(graph))
    below = covered(knowledge)
    nodes = depth.argsort(descending=True, stable=True)
    worth, below = (worth + bonus)[nodes], below[nodes].double()

    def decide(given: Given) -> Answers:
        chances = chances_of(given).cpu()
        best = [(some @ below.T * worth).argmax(1) for some in chances.split(BLOCK)]
        chosen = torch.cat(best)
        return _answers(knowledge, nodes[chosen], (below[chosen] * chances).sum(1))

    return decide


def back_off(
    knowledge: Knowledge,
    held_out: HeldOut | None = None,
    *,
    risk: Share = 0.05,
    method: Literal["ltt", "crc"] = "ltt",
    confidence: Share = 0.95,
    threshold: Annotated[float, Field(ge=0)] | None = None,
) -> Decision:
    """The likeliest class, or its lowest ancestor that is at least as sure as needed.

    Climbs the shortest way up until the probability, the sum over the classes that a
    node covers, reaches a threshold. An answer is wrong if it does not cover the truth;
    a root says nothing and is never wrong. The threshold is the lowest on a fixed grid
    at which the share of wrong answers on the held-out images promises that on others
    to be at most `risk`: with the given `confidence` (`ltt`, Learn then Test, fixed
    sequence and exact binomial p-values; Angelopoulos et al., arXiv 2110.01052), or on
    average over held-out parts (`crc`, conformal risk control; Angelopoulos et al.,
    arXiv 2208.02814). The promise is for images drawn as the held-out ones were.

    Raises:
        UsageError: there is neither a threshold nor held-out images.
        DataError: the held-out images are too few for such a promise.
    """
    climb = Climb(knowledge)
    if threshold is None:
        if held_out is None:
            raise UsageError(
                "back_off needs held-out images, or a threshold: kfr calibrate RUN"
            )
        found = held_out()
        errors = allowed_errors(len(found.target), risk, method, confidence)
        threshold = lowest_threshold(climb.first_wrong(found), errors)
    return lambda given: climb.answers(given, threshold)


class Climb:
    """The ways from classes up, and how sure each step of them is."""

    def __init__(self, knowledge: Knowledge) -> None:
        self.knowledge = knowledge
        self.below = covered(knowledge)  # [M, C]
        ways = ways_down(knowledge.hierarchy, knowledge.at)
        self.ways = torch.from_numpy(ways)  # [C, L], from a root to the class

    def answers(self, given: Given, threshold: float) -> Answers:
        """Return the lowest node on each way that is as sure as `threshold`."""
        label, mass = self._masses(given)
        place = ((mass >= threshold).sum(1) - 1).clamp(min=0)
        node = self.ways[label, place]
        chance = mass.gather(1, place[:, None])[:, 0]
        return _answers(self.knowledge, node, chance, label)

    def first_wrong(self, p: Predictions) -> Tensor:
        """Return how sure the highest wrong step of each way is, `[N]`.

        An answer is wrong up to that threshold, and right above; -1 where none is.
        """
        label, mass = self._masses(p)
        right = self.below[self.ways[label], p.target.cpu()[:, None]]
        right[:, 0] = True
        wrong = (~right).int()
        first = mass.gather(1, wrong.argmax(1, keepdim=True))[:, 0]
        return first.masked_fill(~wrong.any(1), -1.0)

    def _masses(self, given: Given) -> tuple[Tensor, Tensor]:
        """Return the likeliest class `[N]`, and how sure each step down to it is.

        `[N, L]`, falling from left to right.
        """
        chances = chances_of(given).cpu()
        label = chances.argmax(1)
        mass = chances.new_zeros(len(label), self.ways.shape[1])
        for k in label.unique().tolist():
            rows = torch.nonzero(label == k).flatten()
            mass[rows] = chances[rows] @ self.below[self.ways[k]].double().T
        return label, mass.cummin(1).values


def information_kept(knowledge: Knowledge) -> Tensor:
    """Return 1 - log(classes covered) / log(classes) for each node, `[M]`.

    1 - the entropy, over the most there can be, of which class it is if all that the
    node covers are alike: 1 of a class, 0 of a node that covers all.
    """
    classes = max(2, len(knowledge.labels))
    sizes = covered(knowledge).sum(1).clamp(min=1).double()
    return 1 - sizes.log() / float(np.log(classes))


def _answers(
    knowledge: Knowledge, node: Tensor, chance: Tensor, label: Tensor | None = None
) -> Answers:
    """Return answers with the class of each node: `label` if it is there, else any."""
    at = torch.from_numpy(knowledge.at)
    own = torch.full((len(knowledge.hierarchy),), -1)
    own[at.flip(0)] = torch.arange(len(at) - 1, -1, -1)
    found = own[node]
    if label is not None:
        found = torch.where(at[label] == node, label, found)
    return Answers(node, found, chance)
