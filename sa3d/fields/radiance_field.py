"""What the segmentation needs from a NeRF: a protocol, and nothing about any framework."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from sa3d.geometry.bounds import Bounds
from sa3d.geometry.camera import Rays


@dataclass(frozen=True)
class FieldRender:
    """What a frozen radiance field says about R rays with at most S samples each.

    Attributes:
        rgb: [R, 3] in [0, 1].
        depth: [R] distance along the (unit length) ray, world units.
        accumulation: [R] sum of the weights, in [0, 1].
        positions: [R, S, 3] sample positions, world.
        weights: [R, S] rendering weights ``T_j alpha_j``; padding weighs 0. Samples run from
            near to far.
        sample_rgb: [R, S, 3] color of each sample in [0, 1], for pictures with parts left out;
            None if the field does not tell.
    """

    rgb: Tensor
    depth: Tensor
    accumulation: Tensor
    positions: Tensor
    weights: Tensor
    sample_rgb: Tensor | None = None


@runtime_checkable
class RadianceField(Protocol):
    """A trained, frozen radiance field.

    The weights are the field's own (its sampler, its density), so that a mask sees exactly what
    the NeRF renders.
    """

    @property
    def bounds(self) -> Bounds:
        """The map from world space to the unit cube the field itself lives in."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of weights and config: two fields that render differently differ here."""
        ...

    def render(self, rays: Rays, camera_index: int = -1) -> FieldRender:
        """Render rays without gradients; works for any number of rays, on the field's device.

        Args:
            rays: R rays, world frame.
            camera_index: data set index of the camera, for fields with per-image state.
        """
        ...

    def density(self, positions_world: Tensor) -> Tensor:
        """Volume density [N] (per world unit) at positions [N, 3]."""
        ...
