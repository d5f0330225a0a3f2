"""Epochs, stages, and going on from any place in them."""

import pytest
import torch
from colours import (
    Colours,
    Headed,
    Net,
    broken_at,
    scheduled,
    stage,
    three_pets,
    trained,
)

from kfr import plugins
from kfr.data import Batch
from kfr.errors import NumericalError
from kfr.evaluation import evaluate, predict
from kfr.metrics import standard
from kfr.optimizers import optimizer_for
from kfr.stepping import Stepper, averaged
from kfr.training import START, Halfway, Stage, fit


@pytest.fixture
def knowledge():
    return three_pets()


HEADS = {  # of objectives that need another than a linear one
    "cascade": "cascade",
    "alignment": "mlp",
    "center": "semantic,embedding=onehot",
    "correlation_cross_entropy": "semantic",
    "cosine": "semantic,embedding=onehot",
    "devise": "semantic",
    "embedding_mse": "semantic",
    "haf": "haf",
    "haframe": "semantic,embedding=prototypes+gamma=2.0,classifier=false",
    "hier": "semantic,embedding=onehot",
    "hier_cos": "hier_cos",
    "inverse_correlation": "semantic",
    "label_embedding": "label_embedding",
    "multi_level": "levels",
    "prototype_distortion": "prototypes",
    "softmax_correlation": "semantic",
    "tree_path": "levels",
    "unnormalized_correlation": "semantic",
}
FLOORS = {"info_nce": 1.4}  # log of the number of positives: no loss is smaller
FAMILIES = {"pml:": "pml:TripletMarginLoss,margin=0.2"}  # a member of each


OTHERS = {"c2am"}  # no loss of classes, and of maps: see test_c2am


@pytest.mark.parametrize(
    "objective", sorted(plugins.BUILTIN["objective"].keys() - OTHERS)
)
def test_a_model_learns_to_tell_colours_apart(knowledge, objective):
    objective = FAMILIES.get(objective, objective)
    model, data = Headed(HEADS.get(objective, "linear"), knowledge), Colours()
    plan = [stage(knowledge, "cross_entropy", *({objective} - {"cross_entropy"}))]
    epochs = trained(model, plan)
    assert [e.number for e in epochs] == list(range(1, 21))
    floor = FLOORS.get(objective, 0.0)
    assert epochs[-1].loss - floor < (epochs[0].loss - floor) / 2
    assert set(epochs[0].terms) == {"cross_entropy", objective}
    assert sum(epochs[0].terms.values()) == pytest.approx(epochs[0].loss)
    scores = evaluate(model, data.epoch(0), knowledge, standard(3))
    assert scores["accuracy"] == 1.0
    assert scores["mistake_severity"] == 0.0


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_going_on_from_any_batch_is_as_if_it_had_never_stopped(
    knowledge, optimizer, accumulate
):
    def fresh():
        model = Net()
        chosen = optimizer_for([model], 1e-2, 0.01, optimizer)
        return model, Stepper(model, chosen, sam=0.05, average=averaged(model, 0.9))

    names = "cross_entropy", "qtr,triplets=sampled"
    plan = [stage(knowledge, *names, epochs=4, schedule="one_cycle")]
    options = {"seed": 3, "accumulate": accumulate}
    whole, stepper = fresh()
    events = list(fit(stepper, Colours(), plan, **options))
    parted, other = fresh()
    begin, seen = START, []
    while begin.epoch <= 4:  # a process that stops wherever it can
        options |= {"begin": begin, "pause": lambda _: True}
        event = next(fit(other, Colours(), plan, **options))
        torch.manual_seed(99)  # what happens in between must not matter
        if isinstance(event, Halfway):
            begin = event
        else:
            seen, begin = [*seen, event], START._replace(epoch=event.number + 1)
    assert [e.number for e in seen] == [1, 2, 3, 4]
    assert [e.terms for e in seen] == [e.terms for e in events]
    for one, two in ((whole, parted), (stepper.average, other.average)):
        for a, b in zip(one.parameters(), two.parameters(), strict=True):
            assert torch.equal(a, b)


def test_another_seed_trains_otherwise(knowledge):
    models = [Net(), Net()]
    for seed, model in enumerate(models):
        trained(model, [stage(knowledge, "cross_entropy", epochs=1)], seed=seed)
    assert not torch.equal(models[0].head.weight, models[1].head.weight)


def test_phases_follow_one_another_each_with_its_rate_and_objectives(knowledge):
    model = Net()
    plan = [
        stage(knowledge, "cross_entropy", epochs=2, rate=1e-2),
        stage(knowledge, "cross_entropy", "qtr,alpha=3", epochs=1, rate=1e-3),
    ]
    epochs = trained(model, plan)
    assert [(e.number, e.rate) for e in epochs] == [(1, 1e-2), (2, 1e-2), (3, 1e-3)]
    assert [len(e.terms) for e in epochs] == [1, 1, 2]


def test_a_loss_that_is_no_number_stops_and_says_where():
    plan = [Stage(3, broken_at(5), 1e-2, scheduled("constant"))]
    with pytest.raises(NumericalError, match=r"nan in epoch 2, batch 2 \(images \d+, "):
        trained(Net(), plan)
    assert NumericalError.exit_code == 5


def test_predictions_keep_the_order_of_the_images():
    model, data = Net(), Colours()
    batches = [
        Batch(data.images[at], data.targets[at], at) for at in torch.arange(48).split(7)
    ]
    predictions = predict(model, batches)
    assert torch.equal(predictions.target, data.targets)
    assert torch.allclose(predictions.logits, model(data.images).logits, atol=1e-5)
