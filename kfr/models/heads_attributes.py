"""One embedding that tells of the class and of attributes beside it."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from kfr.knowledge import Knowledge
from kfr.models import ATTRIBUTE, Output

Width = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


def attributes(
    width: int,
    knowledge: Knowledge,
    *,
    hidden: Width = 256,
    embedding: Width = 256,
    narrow: Width = 128,
    dropout: Share = 0.1,
    reader_dropout: Share = 0.4,
) -> nn.Module:
    """The encoder of Backward Search: an embedding, read once for each attribute.

    Features go through a `hidden` layer with ReLU, batch norm and dropout, and a second
    one with batch norm, to tanh; that is the `embedding` (PLoS ONE 19(9) e0310098). The
    class and each attribute have a reader of their own, through layers of the width of
    the embedding and `narrow`, each with ReLU, batch norm and `reader_dropout`. An
    attribute's logits are `extra["attribute:NAME"]`.
    """
    encoder = nn.Sequential(
        nn.Linear(width, hidden),
        nn.ReLU(inplace=True),
        nn.BatchNorm1d(hidden),
        nn.Dropout(dropout),
        nn.Linear(hidden, embedding),
        nn.BatchNorm1d(embedding),
        nn.Tanh(),
    )
    sizes = {name: len(values) for name, values in knowledge.attributes.items()}
    made = [
        _reader(embedding, narrow, size, reader_dropout)
        for size in (len(knowledge.labels), *sizes.values())
    ]
    return Encoder(encoder, made[0], dict(zip(sizes, made[1:], strict=True)))


class Encoder(nn.Module):
    """A projection whose output is the embedding, and what reads it."""

    def __init__(
        self,
        projection: nn.Module,
        classifier: nn.Module,
        readers: Mapping[str, nn.Module],
    ) -> None:
        super().__init__()
        self.projection = projection
        self.classifier = classifier
        self.names = tuple(readers)
        self.readers = nn.ModuleList(readers.values())

    @property
    def attributes(self) -> dict[str, nn.Module]:
        """What makes logits of embeddings, by attribute."""
        return dict(zip(self.names, self.readers, strict=True))

    def forward(self, features: Tensor) -> Output:
        """Return embeddings and all logits of features `[N, width]`."""
        z = self.projection(features)
        read = {f"{ATTRIBUTE}{n}": reader(z) for n, reader in self.attributes.items()}
        return Output(z, self.classifier(z), read)


def _reader(width: int, narrow: int, size: int, dropout: float) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in ((width, width), (width, narrow)):
        layers += [
            nn.Linear(before, after),
            nn.ReLU(inplace=True),
            nn.BatchNorm1d(after),
            nn.Dropout(dropout),
        ]
    return nn.Sequential(*layers, nn.Linear(narrow, size))
