"""Sines and cosines of coordinates, in tiny-cuda-nn's order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sa3d.tcnn.config_values import check_keys, whole_number
from sa3d.tcnn.parameter_vector import ParameterVector

_MAX_FREQUENCIES = 32


def frequencies(inputs: Tensor, count: int) -> Tensor:
    """Encode coordinates by sines and cosines of K frequencies.

    Args:
        inputs: [N, D].
        count: number K of frequencies, ``pi, 2 pi, 4 pi ...``.

    Returns:
        [N, D * K * 2]: for each coordinate ``sin(pi x), cos(pi x), sin(2 pi x), cos(2 pi x) ...``.

    Source: ``frequency_encoding`` in tiny-cuda-nn's ``encodings/frequency.h``.
    """
    factors = math.pi * 2.0 ** torch.arange(count, dtype=torch.float64, device=inputs.device)
    angles = inputs[..., None].double() * factors  # float32 angles would lose digits
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-3).to(inputs.dtype)


class Frequencies(ParameterVector[None]):
    """Frequencies as a module without parameters.

    Args:
        n_input_dims: number of coordinates.
        config: tiny-cuda-nn's own configuration.

    Raises:
        SA3DError: an option is unknown, not supported or out of range.
    """

    def __init__(self, n_input_dims: int, config: Mapping[str, Any]) -> None:
        check_keys(config, ("otype", "n_frequencies"), "the frequency encoding")
        count = whole_number(config, "n_frequencies", 12, 1, _MAX_FREQUENCIES)
        super().__init__(n_input_dims, n_input_dims * count * 2, {0: None})
        self.count = count

    def evaluate(self, inputs: Tensor) -> Tensor:
        """Return the encoded coordinates; see ``frequencies``."""
        return frequencies(inputs, self.count)
