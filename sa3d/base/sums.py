"""Sums that do not depend on the number of threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def ordered_sum(values: Tensor) -> float:
    """Return the sum of all values, in double precision.

    Torch divides a long sum among its threads, so that its last digits depend on their number;
    numpy adds in one order.
    """
    return float(np.sum(values.cpu().numpy(), dtype=np.float64))
