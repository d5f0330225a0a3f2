"""Published means and deviations of data sets."""

from typing import Literal

from kfr.data import Normalization

Normalize = Literal["own", "ilsvrc", "caffe", "model"]

_FROM_PIXELS = {  # 0 to 255: mean, then deviation (Barz & Denzler 2019, 2020)
    "cifar100": ((129.304, 124.070, 112.434), (68.170, 65.392, 70.418)),
    "cub": ((123.840, 127.351, 110.256), (59.223, 58.074, 67.803)),
    "imagenet": ((122.654, 116.655, 103.998), (71.406, 69.570, 73.044)),
    "nabirds": ((125.305, 129.666, 118.451), (57.005, 56.701, 68.444)),
}
_ILSVRC = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CAFFE = ((123.68, 116.779, 103.939), (1.0, 1.0, 1.0))


def constants(dataset: str, wanted: Normalize) -> Normalization | None:
    """Return the constants wanted; None where a set has none published: to be measured.

    `own`: those of the set; `ilsvrc`: those that torchvision's weights were trained
    with; `model`: none, so that those of the backbone are taken, if it has any;
    `caffe`: the mean of ILSVRC is subtracted from pixels of 0 to 255, which are not
    scaled. All are for channels in the order R, G, B, in which kfr always has them: a
    network that wants B, G, R turns its input round itself.
    """
    if wanted == "model":
        return None
    if wanted == "ilsvrc":
        return _ILSVRC
    pixels = _CAFFE if wanted == "caffe" else _FROM_PIXELS.get(dataset)
    if pixels is None:
        return None
    (r, g, b), (dr, dg, db) = pixels
    return Normalization((r / 255, g / 255, b / 255), (dr / 255, dg / 255, db / 255))
