"""Real spherical harmonics of directions, with tiny-cuda-nn's signs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sa3d.tcnn.config_values import check_keys, whole_number
from sa3d.tcnn.parameter_vector import ParameterVector

MAX_DEGREE = 4


def spherical_harmonics(inputs: Tensor, degree: int) -> Tensor:
    """Encode directions by the real spherical harmonics of the first bands.

    Components with odd order m have the opposite sign of Nerfstudio's.

    Args:
        inputs: [N, 3] in [0, 1]: ``(direction + 1) / 2`` of unit directions.
        degree: number of bands, 1 to 4.

    Returns:
        [N, degree^2], band after band.

    Source: ``kernel_sh`` in tiny-cuda-nn's ``encodings/spherical_harmonics.h``.
    """
    x, y, z = (inputs * 2 - 1).unbind(dim=-1)
    xx, yy, zz = x * x, y * y, z * z
    components = [
        torch.full_like(x, 0.28209479177387814),
        -0.48860251190291987 * y,
        0.48860251190291987 * z,
        -0.48860251190291987 * x,
        1.0925484305920792 * x * y,
        -1.0925484305920792 * y * z,
        0.94617469575755997 * zz - 0.31539156525251999,
        -1.0925484305920792 * x * z,
        0.54627421529603959 * (xx - yy),
        0.59004358992664352 * y * (-3 * xx + yy),
        2.8906114426405538 * x * y * z,
        0.45704579946446572 * y * (1 - 5 * zz),
        0.3731763325901154 * z * (5 * zz - 3),
        0.45704579946446572 * x * (1 - 5 * zz),
        1.4453057213202769 * z * (xx - yy),
        0.59004358992664352 * x * (-xx + 3 * yy),
    ]
    return torch.stack(components[: degree**2], dim=-1)


class SphericalHarmonics(ParameterVector[None]):
    """Spherical harmonics as a module without parameters.

    Args:
        config: tiny-cuda-nn's own configuration.

    Raises:
        SA3DError: an option is unknown, not supported or out of range.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        check_keys(config, ("otype", "degree"), "spherical harmonics")
        degree = whole_number(config, "degree", 4, 1, MAX_DEGREE)
        super().__init__(3, degree**2, {0: None})
        self.degree = degree

    def evaluate(self, inputs: Tensor) -> Tensor:
        """Return the encoded directions; see ``spherical_harmonics``."""
        return spherical_harmonics(inputs, self.degree)
