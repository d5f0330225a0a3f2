"""The images of a collection by their position, and small pictures of them."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock

from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from kfr.data import Dataset, ImageTensor
from kfr.data.images import Place, Sent, preview, read_image
from kfr.errors import DataError
from kfr.retrieval.shards import Chain
from kfr.serving import RefusedError
from kfr.strings import Strings

SIDES = (160, 480)  # pixels of a picture's longer side
_FEW = 64  # pixels from which on JPEG does no harm

_READING = Lock()  # Pillow's warnings belong to the process, and large images are large


@dataclass(frozen=True, eq=False)
class Pictures:
    """Where the images of a collection lie; nothing else is ever opened."""

    paths: Strings | Chain | tuple[str, ...]
    dataset: Dataset | None = None  # of which images are that are no files

    @cached_property
    def _places(self) -> dict[str, Place]:
        """The places of the data set's files, some of them in archives."""
        if self.dataset is None or isinstance(self.dataset, ImageTensor):
            return {}
        return {str(place): place for place in self.dataset.paths}

    def image(self, position: int) -> Tensor:
        """Return an image, `[3, H, W]` uint8.

        Raises:
            RefusedError: there is no such position, or the image is gone.
        """
        return self._read(position, read_image)

    def small(self, position: int, side: int) -> Tensor:
        """Return an image no larger than it is shown, if it can be read so."""
        return self._read(position, lambda place: preview(place, side))

    def _read(self, position: int, read: Callable[[Place], Tensor]) -> Tensor:
        if not 0 <= position < len(self.paths):
            raise RefusedError(404, f"there is no image {position}")
        path = self.paths[position]
        if isinstance(self.dataset, ImageTensor) and path.endswith("]"):
            return self._stored(self.dataset, path)
        try:
            with _READING:
                return read(self._places.get(path, Path(path)))
        except DataError:
            raise RefusedError(
                404, f"the file of image {position} is gone or no longer an image"
            ) from None

    def _stored(self, dataset: ImageTensor, path: str) -> Tensor:
        number = path.partition("[")[2][:-1]
        if not number.isdecimal() or int(number) >= len(dataset):
            raise RefusedError(404, f"{path} is not in the data set")
        return dataset.images[int(number)]


def read_sent(data: bytes) -> Tensor:
    """Read an image that anybody may have made.

    Raises:
        RefusedError: it is damaged, too large, or of another format.
    """
    try:
        with _READING:
            return read_image(Sent("that was sent", data))
    except DataError as error:
        text = str(error)
        if "cannot identify" in text:
            text = "this is no PNG, JPEG, WebP, GIF, BMP or TIFF image"
        raise RefusedError(400, text) from None


def encoded(image: Tensor, side: int) -> tuple[str, bytes]:
    """Return the media type and the bytes of a picture; small images stay exact."""
    most = max(image.shape[1:])
    if most > side:
        shape = [max(1, round(n * side / most)) for n in image.shape[1:]]
        image = functional.resize(image, shape, antialias=True)
    kind = "PNG" if most <= _FEW else "JPEG"
    out = io.BytesIO()
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    picture.save(out, kind, **({"quality": 85} if kind == "JPEG" else {}))
    return f"image/{kind.lower()}", out.getvalue()
