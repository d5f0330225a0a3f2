"""Objectives that learn what they draw to: label embeddings and centres."""

import math
from types import SimpleNamespace

import pytest
import torch

from kfr import plugins
from kfr.errors import UsageError
from kfr.models import Output

PETS = SimpleNamespace(labels=("cat", "dog", "parrot"))


def made(text):
    return plugins.make("objective", text, PETS)


def output_of(z, o1=None, o2=None):
    o1 = z if o1 is None else o1
    return Output(z, o1, {} if o2 is None else {"detached_logits": o2})


def random_output(size=8, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return output_of(*(torch.randn(size, 3, generator=draw) for _ in range(3)))


def softmax(values):
    total = sum(map(math.exp, values))
    return [math.exp(v) / total for v in values]


def cross(logits, wanted):
    return -sum(q * math.log(p) for q, p in zip(wanted, softmax(logits), strict=True))


def test_label_embedding_follows_its_definition_image_by_image():
    objective = made("label_embedding,tau=3,alpha=0.4,beta=0.3")
    with torch.no_grad():
        objective.labels += torch.randn(3, 3, generator=torch.manual_seed(5))
    output, target = random_output(), [0, 1, 2, 0, 1, 2, 0, 1]
    o1, o2 = output.logits.tolist(), output.extra["detached_logits"].tolist()
    right = [max(range(3), key=o2[i].__getitem__) == y for i, y in enumerate(target)]
    assert 0 < sum(right) < 8
    total = 0.0
    for i, y in enumerate(target):
        one = [float(k == y) for k in range(3)]
        e = objective.labels[y].tolist()
        total += 0.3 * cross(o1[i], one) + 0.7 * cross(o1[i], softmax(e))
        total += cross(o2[i], one) + max(0, softmax(o2[i])[y] - 0.4)
        if right[i]:
            total += 8 / sum(right) * cross(e, softmax([v / 3 for v in o2[i]]))
    value = objective(output, torch.tensor(target))
    assert value.item() == pytest.approx(total / 8, rel=1e-5)
    shares = torch.nn.functional.one_hot(torch.tensor(target), 3).float()
    assert objective(output, shares).item() == pytest.approx(total / 8, rel=1e-5)


def test_gradients_stop_where_the_paper_stops_them():
    objective = made("label_embedding,alpha=1")
    output = random_output(2)
    o1, o2 = (v.requires_grad_() for v in
              (output.logits, output.extra["detached_logits"]))  # fmt: skip
    target = o2.detach().argmax(1)  # all right: the labels are learnt
    objective(output, target).backward()
    # Only its own cross-entropy reaches the second classifier.
    expected = torch.autograd.grad(
        torch.nn.functional.cross_entropy(o2, target), o2
    )[0]  # fmt: skip
    torch.testing.assert_close(o2.grad, expected)
    assert objective.labels.grad[target].any(1).all()
    objective.labels.grad = o1.grad = None
    wrong = (target + 1) % 3
    objective(output, wrong).backward()
    assert not objective.labels.grad.any()
    assert o1.grad.any()


def test_label_embedding_says_which_head_it_needs():
    with pytest.raises(UsageError, match="--head label_embedding"):
        made("label_embedding")(output_of(torch.zeros(2, 3)), torch.tensor([0, 1]))


def test_centres_follow_the_embeddings_as_wen_et_al_move_them():
    objective = made("center,num_dim=2,weight=0.5,rate=0.5")
    z = torch.tensor([[2.0, 0.0], [4.0, 0.0], [0.0, 3.0]])
    target = torch.tensor([0, 0, 2])
    value = objective(output_of(z), target)
    assert value.item() == pytest.approx(0.5 * (4 + 16 + 9) / 3 / 2)
    # (2 + 4) / (1 + 2) and 3 / (1 + 1), half of it
    assert objective.centers.tolist() == [[1, 0], [0, 0], [0, 0.75]]
    again = made("center,num_dim=2,weight=0.5,rate=0.5")
    again.centers.copy_(torch.tensor([[1.0, 0], [0, 0], [0, 0.75]]))
    value = again(output_of(z[1:]), target[1:])
    assert value.item() == pytest.approx(0.5 * (3**2 + 2.25**2) / 2 / 2)
    # (4 - 1) / 2 and (3 - 0.75) / 2, half of it
    assert again.centers.tolist() == [[1.75, 0], [0, 0], [0, 1.3125]]
    shares = torch.tensor([[0.5, 0.5, 0]])
    value = objective(output_of(torch.tensor([[2.0, 1.0]])), shares)
    assert value.item() == pytest.approx(0.5 * (0.5 * 2 + 0.5 * 5) / 2)
    objective.eval()
    before = objective.centers.clone()
    objective(output_of(z), target)
    assert torch.equal(objective.centers, before)
    assert set(objective.state_dict()) == {"centers"}
    assert not list(objective.parameters())


def test_a_batch_that_is_no_number_moves_no_centre():
    objective = made("center,num_dim=2")
    objective(output_of(torch.tensor([[math.nan, 1.0]])), torch.tensor([0]))
    assert not objective.centers.any()


def test_centres_of_another_width_are_refused():
    with pytest.raises(UsageError, match="5 numbers, the centres 3.*num_dim=5"):
        made("center")(output_of(torch.zeros(2, 5)), torch.tensor([0, 1]))


@pytest.mark.parametrize("name", ["center", "label_embedding"])
def test_degenerate_batches_have_finite_losses_and_gradients(name):
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    batches = [
        (z[:1], [1]),
        (z, [2, 2, 2, 2]),
        (z[:1].expand(4, -1), [0, 1, 2, 0]),
        (z * 0, [0, 1, 2, 0]),
    ]
    for values, target in batches:
        leaf = values.clone().requires_grad_()
        given = torch.tensor(target)
        for t in (given, torch.nn.functional.one_hot(given, 3).float()):
            loss = made(name)(output_of(leaf, leaf, leaf), t)
            loss.backward()
            assert loss.isfinite()
            assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("name", ["center", "label_embedding"])
def test_autocast_leaves_the_loss_in_float32(name):
    output, target = random_output(24), torch.arange(24) % 3
    expected = made(name)(output, target).item()
    halves = Output(
        output.embedding.bfloat16(),
        output.logits.bfloat16(),
        {k: v.bfloat16() for k, v in output.extra.items()},
    )
    with torch.autocast("cpu", torch.bfloat16):
        loss = made(name)(halves, target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, rel=1e-2)
