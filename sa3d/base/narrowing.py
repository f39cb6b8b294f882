"""Conversion of integers to smaller types, which never wraps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sa3d.base.errors import SA3DError

if TYPE_CHECKING:
    import numpy as np


def narrowed(values: np.ndarray, kind: type[np.integer], remedy: str) -> np.ndarray:
    """Convert integers to a type of fewer bits; NumPy's ``astype`` would wrap large ones.

    Args:
        values: integers, of any shape.
        kind: an integer type.
        remedy: for the error, what the user can do.

    Raises:
        SA3DError: a value is outside of the type's range.
    """
    import numpy as np

    limits = np.iinfo(kind)
    if values.size and (values.min() < limits.min or values.max() > limits.max):
        raise SA3DError(
            f"a number does not fit into {limits.bits} bits ({values.min()} to {values.max()}): "
            f"{remedy}"
        )
    return values.astype(kind)
