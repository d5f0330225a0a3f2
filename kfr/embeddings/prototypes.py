"""Class embeddings whose angles widen with the class distance."""

from typing import Annotated

import numpy as np
from pydantic import Field

from kfr.embeddings import Table
from kfr.embeddings.similarity import Measure, class_distances, spectrum
from kfr.knowledge import Knowledge
from kfr.similarity import Cut

_TRIES = 100


def prototypes(
    knowledge: Knowledge,
    *,
    gamma: Annotated[float, Field(gt=0)] = 2.0,
    dag: Cut = "tree",
    distance: Measure = "lca_height",
) -> Table:
    """Unit rows `[C, C]` with the cosines (1 - s) exp(-gamma d / max d) + s.

    HAFrame (Liang & Davis, ICCV 2023): s is the most negative of 100 values from -1 to
    -1 / (C - 1) for which such rows exist. d as for `unitsphere`.

    Raises:
        HierarchyError: for none of them; `dag=tree` helps.
    """
    apart = class_distances(knowledge, dag=dag, distance=distance)
    near = np.exp(-gamma * apart / (apart.max(initial=0.0) or 1.0))
    for lowest in np.linspace(-1, -1 / max(len(near) - 1, 1), _TRIES):
        cosines: Table = (1 - lowest) * near + lowest
        if np.linalg.eigvalsh(cosines)[0] >= -1e-12 * len(near):
            break
    values, vectors = spectrum(cosines, "exp(-gamma d)")
    root: Table = (vectors * np.sqrt(values)) @ vectors.T
    return root
