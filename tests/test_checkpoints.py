"""Checkpoints: what is loaded is what was saved, bit for bit, or an error."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from kfr import checkpoints
from kfr.errors import DataError
from kfr.files import save_arrays


def network(width=4):
    torch.manual_seed(width)
    layers = [nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * 36, 2))
    return model.to(memory_format=torch.channels_last)


def optimizer_of(model, **options):
    return torch.optim.AdamW(model.parameters(), lr=0.01, **options)


def train(model, optimizer, steps):
    for step in steps:
        draw = torch.Generator().manual_seed(step)
        images = torch.randn(5, 3, 8, 8, generator=draw)
        loss = model(images.to(memory_format=torch.channels_last)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def bits(tensor):
    return tensor.detach().contiguous().flatten().numpy().tobytes()


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.dtype == other[name].dtype
        assert bits(value) == bits(other[name]), name


@pytest.fixture
def trained(tmp_path):
    """A network after three steps, its optimizer and its checkpoint."""
    model = network()
    optimizer = optimizer_of(model)
    train(model, optimizer, range(3))
    path = tmp_path / "checkpoints" / "last.safetensors"
    about = {"epoch": 3, "image": {"size": 8, "mean": [0.1, 1 / 3]}, "who": "Zoë"}
    checkpoints.save(path, {"model": model}, optimizer, about)
    return model, optimizer, path


def test_weights_and_buffers_come_back_bit_for_bit(trained):
    model, _, path = trained
    fresh = network()
    nn.init.zeros_(fresh[0].weight)
    about = checkpoints.load(path, {"model": fresh})
    assert_same(fresh.state_dict(), model.state_dict())
    assert fresh[1].num_batches_tracked == 3
    assert fresh[1].num_batches_tracked.shape == ()
    assert fresh[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert about == {
        "epoch": 3,
        "image": {"size": 8, "mean": [0.1, 1 / 3]},
        "who": "Zoë",
    }
    assert checkpoints.facts(path) == about


def test_numbers_beyond_all_numbers_come_back_too(tmp_path):
    model = nn.Linear(3, 2)
    values = torch.tensor([[float("nan"), -0.0, float("inf")], [1e-45, 3e38, -1 / 3]])
    model.weight.data.copy_(values)
    checkpoints.save(tmp_path / "x", {"model": model}, None, {})
    fresh = nn.Linear(3, 2)
    checkpoints.load(tmp_path / "x", {"model": fresh})
    assert_same(fresh.state_dict(), model.state_dict())


@pytest.mark.parametrize("fused", [False, True])
def test_the_optimizer_goes_on_as_if_it_had_never_stopped(fused, tmp_path):
    model = network()
    optimizer = optimizer_of(model, fused=fused)
    train(model, optimizer, range(3))
    checkpoints.save(tmp_path / "x", {"model": model}, optimizer, {})
    fresh = network()
    resumed = optimizer_of(fresh, fused=fused)
    checkpoints.load(tmp_path / "x", {"model": fresh}, resumed)
    before, after = optimizer.state_dict()["state"], resumed.state_dict()["state"]
    assert before.keys() == after.keys() == set(range(6))
    for i, values in before.items():
        assert_same(values, after[i])
    for modules in ((model, optimizer), (fresh, resumed)):
        train(*modules, range(3, 8))
    assert_same(fresh.state_dict(), model.state_dict())


def test_loading_does_not_tie_two_optimizers_together(trained):
    _, optimizer, path = trained
    before = copy.deepcopy(optimizer.state_dict()["state"])
    fresh = network()
    resumed = optimizer_of(fresh)
    checkpoints.load(path, {"model": fresh}, resumed)
    train(fresh, resumed, range(2))
    for i, values in optimizer.state_dict()["state"].items():
        assert_same(values, before[i])


def test_the_rate_is_the_new_optimizer_s_own(trained):
    _, _, path = trained
    fresh = network()
    optimizer = torch.optim.AdamW(fresh.parameters(), lr=0.5)
    checkpoints.load(path, {"model": fresh}, optimizer)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_modules_of_like_names_are_told_apart(tmp_path):
    many = {f"objective{i}": nn.Linear(1, 1) for i in (1, 10, 11)}
    checkpoints.save(tmp_path / "x", many, None, {})
    fresh = {name: nn.Linear(1, 1) for name in many}
    checkpoints.load(tmp_path / "x", fresh)
    for name, module in many.items():
        assert_same(fresh[name].state_dict(), module.state_dict())


def test_before_the_first_step_there_is_no_state(tmp_path):
    model = network()
    checkpoints.save(tmp_path / "x", {"model": model}, optimizer_of(model), {})
    optimizer = optimizer_of(model)
    assert checkpoints.load(tmp_path / "x", {"model": model}, optimizer) == {}
    assert optimizer.state_dict()["state"] == {}


def test_another_width_is_an_error_that_names_the_file(trained):
    _, _, path = trained
    with pytest.raises(DataError, match=f"{path} does not fit this model: .*"):
        checkpoints.load(path, {"model": network(width=5)})


def test_other_layers_are_an_error_that_names_the_file(trained):
    _, _, path = trained
    for model in (nn.Linear(1, 1), nn.Sequential(), network()[:3]):
        with pytest.raises(DataError, match=f"{path} does not fit this model: "):
            checkpoints.load(path, {"model": model})
    with pytest.raises(DataError, match=f"{path} does not fit this objective0: "):
        checkpoints.load(path, {"objective0": network()})


@pytest.mark.parametrize("kept", [slice(2), slice(None, None, -1)])
def test_an_optimizer_of_other_parameters_is_an_error(kept, trained):
    model, _, path = trained
    optimizer = torch.optim.AdamW(list(model.parameters())[kept])
    with pytest.raises(DataError, match=f"{path} does not fit this optimizer:"):
        checkpoints.load(path, {"model": model}, optimizer)


def test_a_file_of_something_else_is_an_error(tmp_path):
    path = tmp_path / "knowledge.safetensors"
    save_arrays(path, {"distances": np.zeros((2, 2))}, {"format": 1})
    with pytest.raises(DataError, match=f"{path} does not fit this model"):
        checkpoints.load(path, {"model": network()})


def test_any_byte_changed_or_cut_off_is_noticed(trained):
    model, _, path = trained
    before = copy.deepcopy(model.state_dict())
    whole = path.read_bytes()
    middle = len(whole) // 2
    spoilt = [whole[:n] for n in (0, 1, 8, 100, middle, len(whole) - 1)]
    spoilt += [
        whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]
        for at in [*range(0, len(whole), 97), len(whole) - 1]
    ]
    for content in [*spoilt, whole + b"\0", b"PK\x03\x04", pickle.dumps({})]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=str(path)):
            checkpoints.load(path, {"model": model})
        with pytest.raises(DataError, match=str(path)):
            checkpoints.facts(path)
    assert_same(model.state_dict(), before)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=f"cannot read {tmp_path / 'none'}"):
        checkpoints.load(tmp_path / "none", {})


def test_a_save_replaces_the_file_and_leaves_nothing_beside_it(trained):
    model, optimizer, path = trained
    train(model, optimizer, range(3, 5))
    checkpoints.save(path, {"model": model}, optimizer, {"epoch": 4})
    fresh = network()
    assert checkpoints.load(path, {"model": fresh}) == {"epoch": 4}
    assert_same(fresh.state_dict(), model.state_dict())
    assert list(path.parent.iterdir()) == [path]
