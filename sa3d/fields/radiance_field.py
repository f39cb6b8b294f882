"""The protocol of a trained radiance field: all that the segmentation needs of a NeRF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from sa3d.geometry.bounds import Bounds
from sa3d.geometry.camera import Rays


@dataclass(frozen=True)
class FieldRender:
    """R rendered rays with at most S samples each.

    Samples are ordered from near to far. Rays with fewer than S samples are padded with weight 0.

    Attributes:
        rgb: [R, 3] rendered color in [0, 1].
        depth: [R] distance along the ray, world units.
        accumulation: [R] sum of the weights, in [0, 1].
        positions: [R, S, 3] sample positions, world frame.
        weights: [R, S] rendering weights ``T_j alpha_j`` (transmittance times opacity).
        sample_rgb: [R, S, 3] color of each sample in [0, 1], needed to render a part of the field;
            None if the field does not give it.
    """

    rgb: Tensor
    depth: Tensor
    accumulation: Tensor
    positions: Tensor
    weights: Tensor
    sample_rgb: Tensor | None = None


@runtime_checkable
class RadianceField(Protocol):
    """A trained, frozen radiance field: the one interface between the core and a NeRF framework.

    ``render`` returns the rendering weights of the field itself, from its own sampler and density,
    so that masks are rendered through exactly the surfaces that the field shows.
    ``sa3d.testing.field_contract`` checks an implementation.

    Example:
        >>> camera = Camera(c2w, fx=50, fy=50, cx=32, cy=24, width=64, height=48)
        >>> render = field.render(camera.image_rays(), camera.index)
        >>> image = render.rgb.reshape(48, 64, 3)
        >>> points = (render.weights[..., None] * render.positions).sum(dim=1)  # [R, 3], world
    """

    @property
    def bounds(self) -> Bounds:
        """Map from the world frame to the unit cube of the field."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of the weights and settings: fields that render differently have different ones."""
        ...

    def render(self, rays: Rays, camera_index: int = -1) -> FieldRender:
        """Render rays, without gradients.

        Any number of rays is accepted: the field splits them as its memory requires, and moves them
        to its device.

        Args:
            rays: R rays, world frame, on any device.
            camera_index: index of the camera among the training images, for fields with per-image
                state such as appearance embeddings; -1 for a camera that is not one of them.

        Returns:
            The render of the R rays, on the field's device.
        """
        ...

    def density(self, positions_world: Tensor) -> Tensor:
        """Return the volume density [N], per world unit, at positions [N, 3] in the world frame."""
        ...
