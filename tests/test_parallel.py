"""Several processes compute what one computes with everything.

Real processes, which speak gloo over the loopback; each world is started once, runs
all of `parallel_ranks`, and its findings are compared here with one process's.
"""

import os
import subprocess
import sys
from pathlib import Path

import parallel_layers
import parallel_ranks
import pytest
import torch

from kfr import parallel
from kfr.errors import MissingError, PeerError, UsageError

CLOSE = {"rtol": 1e-9, "atol": 1e-12}  # in float64; the task asks for 1e-6
ITEMS = parallel_ranks.ITEMS


def launch(rank, world, folder):
    environment = os.environ | {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parent),
    }
    program = Path(__file__).with_name("parallel_ranks.py")
    return subprocess.Popen(
        [sys.executable, program, folder], env=environment, stderr=subprocess.PIPE
    )


@pytest.fixture(scope="module", params=[2, 3], ids=["two", "three"])
def found(request, tmp_path_factory):
    """What each process found, in the order of ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    processes = [launch(r, request.param, folder) for r in range(request.param)]
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


@pytest.fixture(scope="module")
def alone():
    """What one process finds."""
    names = ("losses", "attributes", "two_items", "steps", "gathering")
    found = {name: getattr(parallel_ranks, name)() for name in names}
    return found | {"norm_layers": parallel_layers.norm_layers()}


def same(mine, one):
    torch.testing.assert_close(mine, one, **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("norm", [False, True], ids=["no-norm", "norm"])
@pytest.mark.parametrize("name", parallel_ranks.OBJECTIVES)
def test_loss_gradient_and_statistics_are_those_of_one_process(
    found, alone, name, norm
):
    one = alone["losses"][name, norm]
    assert one["loss"] > 0
    for rank in found:
        same(rank["losses"][name, norm], one)


@pytest.mark.slow
def test_a_loss_of_each_part_alone_would_be_found_out(alone):
    """The comparison above can fail: the mean of the parts' gradients is another."""
    images, target = parallel_ranks.items()
    terms = parallel_ranks.OBJECTIVES["qtr-sample"]
    grads = []
    for part in (slice(0, 3), slice(3, 7)):
        model = parallel_ranks.network(norm=False)
        parallel_ranks.objective(terms)(model(images[part]), target[part]).backward()
        grads.append(model.logits.weight.grad)
    one = alone["losses"]["qtr-sample", False]["grad"]["logits.weight"]
    mean = torch.stack(grads).mean(0)
    assert (mean - one).norm() / one.norm() > 0.01


@pytest.mark.slow
def test_attributes_are_learnt_as_by_one_process(found, alone):
    for rank in found:
        same(rank["attributes"], alone["attributes"])


@pytest.mark.slow
def test_a_process_without_an_image_takes_part(found, alone):
    for rank in found:
        same(rank["two_items"], alone["two_items"])


@pytest.mark.slow
def test_torchs_own_averaging_gives_the_same(found, alone):
    for rank in found:
        same(rank["ddp"], alone["losses"]["cross_entropy", True])


@pytest.mark.slow
def test_steps_with_accumulation_two_passes_and_an_objectives_parameters_agree(
    found, alone
):
    for rank in found:
        same(rank["steps"], alone["steps"])


@pytest.mark.slow
def test_a_sharded_model_takes_the_same_steps_and_is_whole_when_saved(found, alone):
    same(found[0]["sharded"]["model"], alone["steps"]["model"])
    for rank in found:
        same(rank["sharded"]["centres"], alone["steps"]["centres"])


@pytest.mark.slow
def test_a_sharded_model_goes_on_from_what_was_saved(found):
    went_on, resumed = found[0]["resumed"]
    assert list(went_on) == list(parallel_ranks.network(norm=False).state_dict())
    same(resumed, went_on)


@pytest.mark.slow
def test_rows_come_together_in_their_order_whatever_their_type(found, alone):
    one = alone["gathering"]
    for rank in found:
        mine = rank["gathering"]
        for name in ("embedding", "target", "rows"):
            assert torch.equal(mine[name], one[name]), name
        for name in ("projection", "flags", "half", "nothing", "tree", "temperature"):
            assert torch.equal(mine["extra"][name], one["extra"][name]), name
            assert mine["extra"][name].dtype == one["extra"][name].dtype
        start, stop = mine["own"]
        for name in ("table", "shared/rows"):  # as long as the part, but no images'
            assert len(mine["extra"][name]) == stop - start
    assert [rank["gathering"]["own"][0] for rank in found[1:]] == [
        rank["gathering"]["own"][1] for rank in found[:-1]
    ]


@pytest.mark.slow
def test_processes_agree_and_only_the_first_speaks(found):
    for i, rank in enumerate(found):
        said = [1] if i == 0 else []
        assert rank["talking"] == {
            "one": True, "none": False, "told": {"stop": 0}, "said": said,
            "first": i == 0,
        }  # fmt: skip


@pytest.mark.slow
def test_what_is_no_number_in_one_process_is_known_to_all(found):
    assert [rank["nan"]["own"] for rank in found] == [False, *[True] * (len(found) - 1)]
    for rank in found:
        assert rank["nan"]["agreed"] is True
        assert rank["nan"]["loss"].isnan()


@pytest.mark.slow
def test_layers_normalise_as_torchs_over_everything(found, alone):
    one = alone["norm_layers"]
    for rank in found:
        mine = rank["norm_layers"]
        half = mine.pop("half")
        assert half.dtype == torch.bfloat16
        torch.testing.assert_close(half, one["half"], rtol=2e-2, atol=2e-2)
        same(mine, {name: value for name, value in one.items() if name != "half"})


@pytest.mark.slow
def test_a_layer_of_another_kind_is_refused(found):
    for rank in found:
        assert rank["refusal"].startswith("Doubled cannot take the batch of all")


def test_one_that_waits_in_vain_says_so(monkeypatch, tmp_path):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    meeting = f"file://{tmp_path}/meeting"
    with (
        pytest.raises(PeerError, match="another process of this run .*not answer"),
        parallel.started(torch.device("cpu"), timeout=1, meeting=meeting),
    ):
        pass


def test_one_process_alone_needs_nothing(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    device = torch.device("meta")
    with parallel.started(device) as own:
        assert own is device
    assert (parallel.rank(), parallel.world(), parallel.is_first()) == (0, 1, True)
    assert parallel.agree(True)
    assert not parallel.agree(False)
    thing = object()
    assert parallel.broadcast(thing) is thing
    assert parallel.share(ITEMS) == slice(0, ITEMS)
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("environment", "device", "error", "message"),
    [
        ({"WORLD_SIZE": "two"}, "cpu", UsageError, "WORLD_SIZE='two' is not a number"),
        ({"WORLD_SIZE": "2"}, "cpu", UsageError, "RANK='' .* torchrun"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "mps", UsageError, "'mps'.*--device cpu"),
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "99"}, "cuda", MissingError,
         "process 99 .* has no GPU"),
    ],
)  # fmt: skip
def test_a_start_that_cannot_be_is_refused(
    monkeypatch, environment, device, error, message
):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(error, match=message),
        parallel.started(torch.device(device)),
    ):
        pass
