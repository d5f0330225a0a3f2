"""Backward search against a loop that takes one query and one step at a time."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from kfr import plugins
from kfr.errors import UsageError
from kfr.knowledge import build_knowledge, with_attributes
from kfr.mapping import LabelMapping
from kfr.models import Classifier, Output
from kfr.models.heads import Head
from kfr.retrieval.backward import backward_search, log_masses, reader_of
from kfr.retrieval.conditions import conditions, stacked


@pytest.fixture
def net():
    torch.manual_seed(3)
    layers = nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 5)
    return nn.Sequential(*layers, nn.LogSoftmax(1)).eval()


@pytest.fixture
def queries():
    return torch.randn(7, 6, generator=torch.Generator().manual_seed(1))


def sets(*rows):
    return torch.tensor(rows, dtype=torch.bool)


def slowly(net, q, weight, *, classes, forbidden, iterations):
    """One query; conditions: one class each, and one set of forbidden classes."""
    z = q.clone().requires_grad_()
    optimizer = torch.optim.Adam([z], lr=0.2)
    seen = []
    for step in range(iterations + 1):
        optimizer.zero_grad()
        logits = net(z[None])
        terms = [functional.cross_entropy(logits, torch.tensor([c])) for c in classes]
        if forbidden:
            mass = sum(logits.softmax(1)[0, c] for c in forbidden)
            terms.append(-torch.log(1 - mass))
        loss = sum(terms) / len(terms) + weight * (z - q).abs().sum() / len(q)
        seen.append((loss.item(), -step, z.detach().clone()))
        loss.backward()
        optimizer.step()
    return min(seen, key=lambda point: (point[0], -point[1])), seen


@pytest.mark.parametrize("weight", [0.0, 0.51, 3.2])
def test_all_queries_at_once_take_the_way_of_each_alone(net, queries, weight):
    allowed = sets([0, 0, 1, 0, 0], [1, 0, 1, 1, 0])
    walk = backward_search(net, queries, allowed, weight=weight, iterations=30)
    assert walk.path.shape == (31, 7, 6)
    assert torch.equal(walk.path[0], queries)
    for i, q in enumerate(queries):
        (least, _, end), seen = slowly(
            net, q, weight, classes=[2], forbidden=[1, 4], iterations=30
        )
        losses = torch.tensor([loss for loss, *_ in seen])
        torch.testing.assert_close(walk.loss[:, i], losses, rtol=1e-4, atol=1e-5)
        assert walk.loss[walk.best[i], i].item() == pytest.approx(least, abs=1e-5)
        torch.testing.assert_close(walk.end[i], end, rtol=1e-3, atol=1e-3)


def test_the_best_iterate_is_kept_with_its_own_loss(net, queries):
    """Not the one after it, and no query freezes that fails to improve for a while."""
    wanted = sets([0, 1, 0, 0, 0])
    walk = backward_search(net, queries, wanted, weight=0.2, rate=3.0, iterations=60)
    with torch.no_grad():
        loss = -log_masses(net(walk.end), wanted).mean(1)
        loss += 0.2 * (walk.end - queries).abs().mean(1)
    assert torch.allclose(loss, walk.loss.min(0).values, atol=1e-6)
    assert not torch.equal(walk.path[-1], walk.path[-2])
    none = backward_search(net, queries, wanted, iterations=0)
    assert torch.equal(none.end, queries)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(net, queries, weight):
    with pytest.raises(UsageError, match="lambda is"):
        backward_search(net, queries, sets([0, 1, 0, 0, 0]), weight=weight)


def test_each_query_may_have_conditions_of_its_own(net, queries):
    own = torch.eye(5, dtype=torch.bool)[torch.arange(7) % 5][:, None]
    walk = backward_search(net, queries, own, iterations=10)
    for i in range(7):
        alone = backward_search(net, queries[i : i + 1], own[i], iterations=10)
        torch.testing.assert_close(walk.path[:, i], alone.path[:, 0])


def test_masses_are_those_of_the_softmax_and_exact_when_small():
    logits = torch.tensor([[1.0, 2.0, 0.5], [0.0, 200.0, 1.0]])
    allowed = sets([1, 0, 0], [1, 0, 1], [1, 1, 1])
    found = log_masses(logits.log_softmax(1), allowed)
    p = logits[0].softmax(0)
    expected = torch.stack([p[0], p[0] + p[2], p.sum()]).log()
    assert torch.allclose(found[0], expected, atol=1e-6)
    assert found[1, 0].item() == pytest.approx(-200)
    entropy = functional.cross_entropy(logits, torch.zeros(2).long(), reduction="none")
    assert torch.allclose(-found[:, 0], entropy)


def test_nothing_learns_by_a_search(net, queries):
    with torch.inference_mode():  # as embeddings come from a model that is only used
        given = queries * 1.0
    backward_search(net, given, sets([1, 0, 0, 0, 0]), iterations=3)
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize(
    "head", [Head(nn.Linear(4, 6), 6, 5), Head(nn.Identity(), 4, 5)]
)
def test_a_classifier_reads_embeddings(head):
    output = head(torch.randn(3, 4))
    again = reader_of(Classifier(nn.Identity(), head), output)(output.embedding)
    assert torch.equal(again, output.logits.log_softmax(1))


def test_a_head_of_the_features_is_read_as_a_whole():
    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.classifier = nn.Linear(4, 5)  # not yet the logits

        def forward(self, features):
            return Output(features, 2 * self.classifier(features))

    model = Classifier(nn.Identity(), Doubled())
    output = model.head(torch.randn(3, 4))
    again = reader_of(model, output)(output.embedding)
    assert torch.allclose(again, output.logits.log_softmax(1))


def test_a_head_that_reads_more_than_the_embedding_is_refused():
    class Odd(nn.Module):
        def forward(self, features):
            return Output(features[:, :2], features)

    model = Classifier(nn.Identity(), Odd())
    with pytest.raises(UsageError, match="the head Odd does not make its logits"):
        reader_of(model, model.head(torch.randn(3, 4)))


@pytest.fixture
def pet_model(pets):
    """A class and two attributes read from one embedding, statistics not their first"""
    nodes = {name: name for name in ("cat", "dog", "parrot")}
    plain = build_knowledge(pets, LabelMapping(dataset="pets", nodes=nodes))
    values = {"colour": ("blue", "red", "grey"), "fur": ("long", "short")}
    knowledge = with_attributes(plain, values)
    torch.manual_seed(7)
    head = plugins.make("head", "attributes,embedding=6,narrow=8", 10, knowledge)
    head.train()(5 * torch.randn(64, 10))
    return knowledge, Classifier(nn.Identity(), head.eval())


def slowest(head, q, weight, losses, iterations):
    """One query by an Adam of our own; `losses` are functions of z."""
    z, first, second = q.clone(), torch.zeros_like(q), torch.zeros_like(q)
    seen = []
    for step in range(1, iterations + 2):
        z = z.detach().requires_grad_()
        loss = sum(part(head, z[None]) for part in losses) / len(losses)
        loss = loss + weight * (z - q).abs().mean()
        seen.append((loss.item(), z.detach().clone()))
        loss.backward()
        first = 0.9 * first + 0.1 * z.grad
        second = 0.999 * second + 0.001 * z.grad**2
        unbiased = second / (1 - 0.999**step)
        z = z.detach() - 0.2 * (first / (1 - 0.9**step)) / (unbiased.sqrt() + 1e-8)
    return min(seen, key=lambda point: point[0]), seen


def entropy(reader, k):
    return lambda head, z: functional.cross_entropy(reader(head)(z), torch.tensor([k]))


ASKED = {
    "cat": entropy(lambda head: head.classifier, 0),
    "colour=red": entropy(lambda head: head.attributes["colour"], 1),
    "fur=short": entropy(lambda head: head.attributes["fur"], 1),
    "not:colour=grey": lambda head, z: (
        -torch.log(1 - head.attributes["colour"](z).softmax(1)[0, 2])
    ),
    "mammal": lambda head, z: -torch.log(head.classifier(z).softmax(1)[0, :2].sum()),
    "not:mammal": lambda head, z: -torch.log(head.classifier(z).softmax(1)[0, 2]),
}


@pytest.mark.parametrize(
    "texts",
    [
        ["cat", "colour=red"],
        ["not:colour=grey"],
        ["mammal", "fur=short", "not:colour=grey"],
        ["not:mammal", "colour=red"],
    ],
    ids="+".join,
)
def test_conditions_on_several_attributes_are_those_of_each_reader(pet_model, texts):
    knowledge, model = pet_model
    output = model.head(torch.randn(4, 10, generator=torch.Generator().manual_seed(2)))
    q = output.embedding.detach()
    reader = reader_of(model, output)
    allowed = stacked(conditions(knowledge, texts))
    walk = backward_search(reader, q, allowed, weight=0.51, iterations=20)
    for i in range(4):
        parts = [ASKED[text] for text in texts]
        (least, _), seen = slowest(model.head, q[i], 0.51, parts, 20)
        losses = torch.tensor([loss for loss, _ in seen])
        torch.testing.assert_close(walk.loss[:, i], losses, rtol=1e-3, atol=1e-4)
        assert walk.loss[:, i].min().item() == pytest.approx(least, abs=1e-4)
        way = torch.stack([z for _, z in seen])
        torch.testing.assert_close(walk.path[:, i], way, rtol=1e-2, atol=1e-3)


def test_a_reader_gives_chances_of_each_attribute(pet_model):
    knowledge, model = pet_model
    output = model.head(torch.randn(4, 10))
    chances = reader_of(model, output)(output.embedding).exp()
    assert chances.shape == (4, 3 + 3 + 2)
    for part in chances.split([3, 3, 2], 1):
        assert torch.allclose(part.sum(1), torch.ones(4))
    [one] = conditions(knowledge, ["fur=long"])
    found = log_masses(chances.log(), one.allowed[None]).exp()
    logits = output.extra["attribute:fur"]
    assert torch.allclose(found[:, 0], logits.softmax(1)[:, 0], atol=1e-6)
