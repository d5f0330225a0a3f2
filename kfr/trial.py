"""Configurations tried out before any of them is trained."""

from collections.abc import Mapping

import torch

from kfr.assembly import device_called, model_for, stages
from kfr.columns import columns
from kfr.config import RunConfig
from kfr.errors import UsageError
from kfr.fitting import check_fit
from kfr.knowledge import Knowledge, with_attributes
from kfr.subject import classes_of, knowledge_for


def tried(configs: Mapping[str, RunConfig]) -> Knowledge:
    """Build the model and the objectives of runs on one data set, by name.

    Returns the knowledge of the last.

    Raises:
        UsageError: objectives of a run do not fit its head; naming the run.
        KfrError: what else is wrong with its parts.
    """
    train, test = classes_of(next(iter(configs.values())))
    cpu = device_called("cpu")
    for name, config in configs.items():
        attributes = columns(config.attributes, config.dataset, train, test)
        knowledge = with_attributes(knowledge_for(config, train.labels), attributes)
        bare = config.model_copy(update={"weights": None})
        with torch.random.fork_rng([]):
            model = model_for(bare, config.resize or train.size, knowledge, cpu)
            try:
                check_fit(model, stages(config, knowledge, cpu), knowledge)
            except UsageError as error:
                raise UsageError(f"{name}: {error}") from None
    return knowledge
