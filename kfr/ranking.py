"""The largest of many values, in an order that does not hang on the device."""

import numpy as np
import torch
from torch import Tensor

_LOW = (1 << 32) - 1


def best_first(values: Tensor, k: int) -> Tensor:
    """Return where the k largest of each row stand, best first, `[b, k]`.

    Equal values stand in the order of their positions. In float32 on the CPU each value
    and its position make one whole number: those are all different, and numpy sorts
    them several times faster than torch sorts values.
    """
    if values.device.type != "cpu" or values.dtype != torch.float32:
        order = values.sort(dim=1, descending=True, stable=True).indices
        return order[:, :k]
    bits = (0.0 - values).numpy().view(np.int32)  # never -0.0
    keys = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)
    keys <<= 32
    keys |= np.arange(keys.shape[1])
    if 0 < k < keys.shape[1] // 4:
        keys = np.partition(keys, k - 1, axis=1)[:, :k]
    keys.sort(axis=1)
    return torch.from_numpy(keys[:, :k] & _LOW)
