from __future__ import annotations

import math

import pytest
import torch

from sa3d.base.errors import SA3DError
from sa3d.tcnn.binding import Encoding
from sa3d.tcnn.frequency import frequencies


def test_the_order_by_hand() -> None:
    found = frequencies(torch.tensor([[0.25, -0.5]]), 2)[0]
    root = math.sqrt(0.5)
    torch.testing.assert_close(found, torch.tensor([root, root, 1, 0, -1, 0, 0, -1]))


def test_large_coordinates_keep_their_digits() -> None:
    far = torch.tensor([[1000.25]])
    torch.testing.assert_close(frequencies(far, 1)[0], torch.tensor([math.sqrt(0.5)] * 2))


def test_the_module() -> None:
    module = Encoding(3, {"otype": "Frequency", "n_frequencies": 2})
    assert module.n_output_dims == module(torch.rand(4, 3)).shape[1] == 12
    with pytest.raises(SA3DError, match="'n_frequencies'"):
        Encoding(3, {"otype": "Frequency", "n_frequencies": 0})
