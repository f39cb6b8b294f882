"""Tests of the conversion of integers to smaller types."""

from __future__ import annotations

import numpy as np
import pytest

from sa3d.base.errors import SA3DError
from sa3d.base.narrowing import narrowed


@pytest.mark.parametrize(
    ("value", "kind"), [(65535, np.uint16), (-(2**31), np.int32), (0, np.uint8)]
)
def test_numbers_in_the_range_are_kept(value: int, kind: type[np.integer]) -> None:
    small = narrowed(np.array([[value, 0]]), kind, "")
    assert small.dtype == np.dtype(kind)
    assert small.tolist() == [[value, 0]]


@pytest.mark.parametrize(("value", "kind"), [(65536, np.uint16), (2**31, np.int32), (-1, np.uint8)])
def test_numbers_that_would_wrap_are_refused(value: int, kind: type[np.integer]) -> None:
    with pytest.raises(SA3DError, match=rf"{value}.*: choose fewer$"):
        narrowed(np.array([1, value]), kind, "choose fewer")


def test_an_empty_array_fits_any_type() -> None:
    assert narrowed(np.zeros((0, 3), np.int64), np.int32, "").shape == (0, 3)
