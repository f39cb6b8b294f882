from __future__ import annotations

import pytest
import torch

from sa3d.base.sums import ordered_sum


def test_sum_is_precise_and_the_same_with_any_number_of_threads() -> None:
    values = torch.full((100_000,), 0.1)
    values[0] = 1e6
    before, sums = torch.get_num_threads(), set()
    try:
        for number in (1, 2, 3, 7):
            torch.set_num_threads(number)
            sums.add(ordered_sum(values))
    finally:
        torch.set_num_threads(before)
    (only,) = sums
    assert only == pytest.approx(1e6 + 9_999.9, abs=1e-3)


def test_nothing_sums_to_zero() -> None:
    assert ordered_sum(torch.empty(0)) == 0
    assert ordered_sum(torch.tensor([True, True, False])) == 2
