"""What every rival objective has in common: targets, precision, degenerate batches."""

from types import SimpleNamespace

import pytest
import torch
from animals import FIVE, zoo
from colours import Headed
from torch.nn.functional import one_hot

from kfr import Hierarchy, LabelMapping, build_knowledge, plugins
from kfr.class_tree import members
from kfr.errors import MissingError, PluginError, UsageError
from kfr.models import Output
from kfr.objectives.companions import COMPANIONS
from kfr.plugins import Plugin

OLDER = {"inverse_correlation,classifier_weight=0.5", "label_embedding"}
OF_CLASSES = [  # functions of class probabilities, or of nodes' on the way to a class
    "cascade",
    "cascade,alpha=0.3",
    "cross_entropy,smoothing=0.1",
    "haframe",
    "hier_cos",
    "hxe",
    "hxe,alpha=0.5,normalize=true",
    "multi_level",
    "multi_level,decay=0.5",
    "soft_labels",
    "tree_path",
    "tree_supervision",
    "tree_supervision,kind=hard",
]
OF_EMBEDDINGS = [
    "contrastive",
    "contrastive,p=1",
    "cpcc",
    "cpcc,geometry=cosine",
    "cpcc,geometry=poincare",
    "haf",
    "hier,num_dim=8",
    "info_nce",
    "inverse_correlation,classifier_weight=0.5",
    "label_embedding",
    "qtr",
    "pml:TripletMarginLoss,margin=0.2",
    "pml:ProxyNCALoss,embedding_size=8",
    "prototype_distortion",
    "triplet",
    "triplet,triplets=hard",
    "triplet,p=1",
]
EVERY = OF_CLASSES + OF_EMBEDDINGS
HEADS = {  # of those that have one of their own
    name: COMPANIONS[own].head
    for name in EVERY
    if (own := Plugin.parse(name).name) in COMPANIONS
    and COMPANIONS[own].head != "linear"
} | {"hier,num_dim=8": "linear"}


@pytest.fixture(scope="module")
def knowledge():
    return zoo(FIVE)


def images(size, seed=1):
    return torch.randn(size, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


def built(name, knowledge):
    torch.manual_seed(0)
    model = Headed(HEADS.get(name, "linear"), knowledge).eval()
    return model, plugins.make("objective", name, knowledge)


def value(objective, output, target):
    torch.manual_seed(3)
    return objective(output, target)


@pytest.mark.parametrize("name", EVERY)
def test_one_class_is_the_same_as_all_its_share_and_as_a_set_of_one(name, knowledge):
    model, objective = built(name, knowledge)
    output, target = model(images(10)), torch.arange(10) % 5
    expected = value(objective, output, target)
    hot = one_hot(target, 5)
    for same in (hot.float(), hot.bool()):
        torch.testing.assert_close(value(objective, output, same), expected)


@pytest.mark.parametrize("name", EVERY)
def test_half_precision_is_near_and_the_loss_is_in_float32(name, knowledge):
    model, objective = built(name, knowledge)
    with torch.no_grad():
        output = model(images(16))
    target = torch.arange(16) % 5
    exact = value(objective, output, target)
    with torch.autocast("cpu", torch.bfloat16):
        extra = {n: t.bfloat16() for n, t in output.extra.items()}
        half = Output(output.embedding.bfloat16(), output.logits.bfloat16(), extra)
        found = value(objective, half, target)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(exact.item(), rel=1e-2, abs=1e-2)


BATCHES = {
    "one image": (images(1), [0]),
    "two images": (images(2), [0, 4]),
    "one class": (images(6), [2] * 6),
    "identical images": (images(1).expand(6, -1, -1, -1), [0, 0, 1, 2, 3, 4]),
    "zeros": (torch.zeros(6, 3, 4, 4), [0, 0, 1, 2, 3, 4]),
    "large": (images(6) * 1e4, [0, 0, 1, 2, 3, 4]),
}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", EVERY)
def test_degenerate_batches_have_finite_losses_and_gradients(name, batch, knowledge):
    model, objective = built(name, knowledge)
    pixels, target = BATCHES[batch]
    if batch == "zeros":
        torch.nn.init.zeros_(model.body[1].bias)
    output = model(pixels)
    output.embedding.retain_grad()
    loss = value(objective, output, torch.tensor(target))
    assert loss.isfinite()
    assert loss.ndim == 0
    loss.backward()
    found = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in [*found, *_gradients(objective)])


def _gradients(objective):
    modules = [objective] if isinstance(objective, torch.nn.Module) else []
    return [p.grad for m in modules for p in m.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", EVERY)
def test_labels_of_any_level_have_finite_losses_and_gradients(name, knowledge):
    model, objective = built(name, knowledge)
    nodes = ("mammal", "cat", "animal", "bird", "owl", "fish", "dog")
    rows = [torch.from_numpy(members(knowledge, node)) for node in nodes]
    target = torch.stack([*rows, torch.zeros(5, dtype=torch.bool)])
    loss = value(objective, model(images(8)), target)
    assert loss.isfinite()
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters()
               if p.grad is not None)  # fmt: skip


PROBABLE = [n for n in OF_CLASSES if n not in {"hier_cos", "haframe", "tree_path"}
            and "multi" not in n and "smoothing" not in n]  # fmt: skip


@pytest.mark.parametrize("name", PROBABLE)
def test_only_the_mass_of_an_inner_label_counts(name, knowledge):
    # Moving probability between cat and dog leaves the loss of "mammal" alone.
    objective = plugins.make("objective", name, knowledge)
    target = torch.from_numpy(members(knowledge, "mammal"))[None]
    p = (
        torch.tensor([[0.1, 0.3, 0.2, 0.1, 0.3]]),
        torch.tensor([[0.3, 0.1, 0.2, 0.1, 0.3]]),
    )
    outputs = [_output(name, q, knowledge) for q in p]
    one, two = (value(objective, output, target).item() for output in outputs)
    assert one == pytest.approx(two, rel=1e-5)
    assert one > 0
    everything = torch.ones(1, 5, dtype=torch.bool)
    assert value(objective, outputs[0], everything).item() == pytest.approx(0, abs=1e-6)


def _output(name, p, knowledge):
    from kfr.class_tree import class_tree
    from kfr.tree_tensors import TreeTensors

    tree = TreeTensors(class_tree(knowledge))
    conditional = tree.given_parent(tree.log_sums(p.log()))
    return Output(p, p.log(), {"log_conditional": conditional})


@pytest.mark.parametrize("name", ["cross_entropy", "hxe,alpha=0", "soft_labels"])
def test_an_inner_label_trains_minus_the_log_of_the_mass(name, knowledge):
    objective = plugins.make("objective", name, knowledge)
    p = torch.tensor([[0.1, 0.3, 0.2, 0.1, 0.3]])
    target = torch.from_numpy(members(knowledge, "mammal"))[None]
    loss = objective(Output(p, p.log()), target)
    assert loss.item() == pytest.approx(-torch.tensor(0.4).log().item(), rel=1e-5)


@pytest.mark.parametrize(
    "name", sorted(set(HEADS) - {"haframe", "hier,num_dim=8", *OLDER})
)
def test_another_head_is_refused_and_the_right_one_named(name, knowledge):
    objective = plugins.make("objective", name, knowledge)
    output = Output(torch.zeros(2, 3), torch.zeros(2, 5))
    with pytest.raises(UsageError, match=f"--head {HEADS[name]}"):
        objective(output, torch.tensor([0, 1]))


@pytest.mark.parametrize("name", ["hier", "pml:ProxyNCALoss,embedding_size=4"])
def test_another_width_is_refused_and_the_option_named(name, knowledge):
    objective = plugins.make("objective", name, knowledge)
    output = Output(torch.zeros(3, 7), torch.zeros(3, 5))
    with pytest.raises(UsageError, match="(num_dim|embedding_size)=7"):
        objective(output, torch.tensor([0, 1, 1]))


def test_options_of_a_metric_loss_are_those_of_its_own():
    plugins.check("objective", "pml:TripletMarginLoss,margin=0.2,swap=true")
    plugins.check("objective", "pml:ContrastiveLoss,distance=CosineSimilarity")
    with pytest.raises(PluginError, match=r"no option 'margn' \(did you mean 'margin'"):
        plugins.check("objective", "pml:TripletMarginLoss,margn=0.2")
    with pytest.raises(PluginError, match="swap=.maybe"):
        plugins.check("objective", "pml:TripletMarginLoss,swap=maybe")
    with pytest.raises(PluginError, match=r"did you mean 'TripletMarginLoss'\?"):
        plugins.check("objective", "pml:TripletMargin")
    with pytest.raises(PluginError, match="embedding_size"):
        plugins.check("objective", "pml:ArcFaceLoss")
    with pytest.raises(PluginError, match="module:function"):
        plugins.check("objective", "pml:CrossBatchMemory")


def test_a_metric_loss_is_the_librarys(knowledge):
    from pytorch_metric_learning import losses, miners

    z, target = torch.randn(12, 8, generator=torch.manual_seed(2)), torch.arange(12) % 5
    text = "pml:MultiSimilarityLoss,alpha=3,miner=MultiSimilarityMiner"
    found = plugins.make("objective", text, knowledge)(Output(z, z), target)
    pairs = miners.MultiSimilarityMiner()(z, target)
    expected = losses.MultiSimilarityLoss(alpha=3)(z, target, pairs)
    assert found.item() == pytest.approx(expected.item())


def test_a_metric_loss_knows_the_number_of_classes(knowledge):
    text = "pml:CosFaceLoss,embedding_size=8,margin=0.2"
    objective = plugins.make("objective", text, knowledge)
    assert [tuple(p.shape) for p in objective.parameters()] == [(8, 5)]


def test_without_the_library_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(
        __import__("sys").modules, "pytorch_metric_learning.losses", None
    )
    with pytest.raises(MissingError, match=r"kfr\[metric-learning\]"):
        plugins.find("objective", "pml:TripletMarginLoss")


def test_a_wide_hierarchy_needs_no_special_head_for_the_masses():
    # A class directly under the root: no -inf, and cross-entropy for alpha 0.
    mapping = LabelMapping(dataset="flat", nodes={c: c for c in "abc"})
    flat = build_knowledge(Hierarchy.from_pairs([("r", c) for c in "abc"]), mapping)
    logits = torch.tensor([[1.0, 2.0, -1e4]], requires_grad=True)
    loss = plugins.make("objective", "hxe,alpha=0", flat)(
        Output(logits, logits), torch.tensor([2])
    )
    assert loss.item() == pytest.approx(1e4 + 2.3133, rel=1e-5)
    loss.backward()
    assert logits.grad.isfinite().all()


def test_a_plain_namespace_is_enough_for_losses_without_knowledge():
    pets = SimpleNamespace(labels=("cat", "dog"))
    for name in ("contrastive", "triplet", "info_nce"):
        assert callable(plugins.make("objective", name, pets))
