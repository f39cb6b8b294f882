"""Maps from world space to the unit cube, for boxed and for contracted (unbounded) fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Bounds:
    """An invertible map from world space to the unit cube [0, 1]^3.

    There are three kinds:

    - ``"box"``: the affine map of the axis-aligned box ``aabb``. Points outside the box land
      outside the unit cube.
    - ``"contracted"``: ``aabb`` is scaled to [-1, 1]^3, then contracted as in mip-NeRF 360 (Barron
      et al. 2022, eq. 10): ``x`` where ``|x| <= 1``, else ``(2 - 1/|x|) x/|x|``. The result, in
      [-2, 2]^3, is scaled to the unit cube. ``|x|`` is the infinity norm, as in nerfacto.
    - ``"contracted-l2"``: the same with the Euclidean norm.

    Attributes:
        kind: the kind of the map.
        aabb: corners ((x0, y0, z0), (x1, y1, z1)) of a box, world units.

    Example:
        >>> bounds = Bounds("box", ((-2.0, -2.0, -2.0), (2.0, 2.0, 2.0)))
        >>> bounds.to_unit(torch.tensor([0.0, 1.0, 2.0]))
        tensor([0.5000, 0.7500, 1.0000])
    """

    kind: Literal["box", "contracted", "contracted-l2"]
    aabb: tuple[tuple[float, float, float], tuple[float, float, float]] = (
        (-1.0, -1.0, -1.0),
        (1.0, 1.0, 1.0),
    )

    def _aabb_tensor(self, like: Tensor) -> tuple[Tensor, Tensor]:
        low, high = torch.tensor(self.aabb, dtype=like.dtype, device=like.device)
        return low, high

    def _norm(self, x: Tensor) -> Tensor:
        order = 2 if self.kind == "contracted-l2" else float("inf")
        return torch.linalg.vector_norm(x, ord=order, dim=-1, keepdim=True)

    def to_unit(self, positions_world: Tensor) -> Tensor:
        """Map positions [..., 3] from the world frame to the unit cube: [..., 3].

        With ``kind="box"``, positions outside the box land outside [0, 1]^3.
        """
        low, high = self._aabb_tensor(positions_world)
        boxed = (positions_world - low) / (high - low)
        if self.kind == "box":
            return boxed
        x = boxed * 2 - 1
        norm = self._norm(x).clamp_min(1e-12)
        contracted = torch.where(norm <= 1, x, (2 - 1 / norm) * (x / norm))
        return contracted / 4 + 0.5

    def to_world(self, positions_unit: Tensor) -> Tensor:
        """Map positions [..., 3] from the unit cube to the world frame: [..., 3].

        This is the inverse of ``to_unit``. The outer shell of a contracted space (norm 2) lies at
        infinity; its distance is clamped to 1e6 units.
        """
        low, high = self._aabb_tensor(positions_unit)
        if self.kind == "box":
            return low + positions_unit * (high - low)
        x = (positions_unit - 0.5) * 4
        norm = self._norm(x).clamp_min(1e-12)
        expanded = torch.where(norm <= 1, x, x / norm / (2 - norm).clamp_min(1e-6))
        return low + (expanded + 1) / 2 * (high - low)
