"""Cameras and rays: the only place where pixels become rays and points become pixels.

Frame: camera-to-world matrices are OpenGL style (x right, y up, looking along -z), in the scene's
(Nerfstudio's) world units. Pixels are integer indices ``(x, y)`` of the image at the camera's size;
the half-pixel shift to the pixel's centre happens here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rays:
    """A bundle of rays. ``origins``, ``directions``: [R, 3], world; directions have unit length."""

    origins: Tensor
    directions: Tensor

    def __len__(self) -> int:
        return self.origins.shape[0]

    def __getitem__(self, index: slice | Tensor) -> Rays:
        return Rays(self.origins[index], self.directions[index])


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        c2w: [3, 4] camera-to-world, OpenGL, world units.
        fx, fy, cx, cy: intrinsics in pixels of a ``width`` x ``height`` image.
        width, height: image size in pixels.
        index: position in the data set, handed to fields with per-image state; -1 for a free pose.

    Lens distortion is undone by the adapter, on the images: here every camera is a pinhole.
    """

    c2w: Tensor
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    index: int = -1

    @property
    def position(self) -> Tensor:
        """Camera centre, [3], world."""
        return self.c2w[:, 3]

    @property
    def forward(self) -> Tensor:
        """Viewing direction, [3], unit length, world."""
        return -self.c2w[:, 2]

    def resized(self, width: int, height: int) -> Camera:
        """The same view at another resolution (pixels); intrinsics scale with the image."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=self.cx * sx,
            cy=self.cy * sy,
            width=width,
            height=height,
        )

    def fitted(self, max_side: int) -> Camera:
        """The same view with its longer side at most ``max_side`` pixels (never enlarged)."""
        scale = min(1.0, max_side / max(self.width, self.height))
        return self.resized(max(1, round(self.width * scale)), max(1, round(self.height * scale)))

    def pixel_rays(self, xy_px: Tensor) -> Rays:
        """Rays through the centres of pixels ``xy_px`` [R, 2] (integer indices)."""
        c2w = self.c2w.to(torch.float32)
        xy = xy_px.to(torch.float32).to(c2w.device) + 0.5
        in_camera = torch.stack(
            [
                (xy[:, 0] - self.cx) / self.fx,
                -(xy[:, 1] - self.cy) / self.fy,
                -torch.ones_like(xy[:, 0]),
            ],
            dim=-1,
        )
        directions = in_camera @ c2w[:, :3].T
        directions = directions / directions.norm(dim=-1, keepdim=True)
        return Rays(c2w[:, 3].expand_as(directions), directions)

    def image_rays(self) -> Rays:
        """Rays through every pixel, row by row: [height * width]."""
        y, x = torch.meshgrid(torch.arange(self.height), torch.arange(self.width), indexing="ij")
        return self.pixel_rays(torch.stack([x.reshape(-1), y.reshape(-1)], dim=-1))

    def project(self, points_world: Tensor) -> tuple[Tensor, Tensor]:
        """Project points [N, 3] (world) to continuous image coordinates.

        Returns:
            ``xy`` [N, 2] in pixels, where the centre of pixel (i, j) is (i + 0.5, j + 0.5), and
            ``z`` [N], the distance along the optical axis (positive in front of the camera).
        """
        c2w = self.c2w.to(points_world)
        in_camera = (points_world - c2w[:, 3]) @ c2w[:, :3]
        z = -in_camera[:, 2]
        safe_z = torch.where(z.abs() < 1e-9, torch.full_like(z, 1e-9), z)
        x = self.fx * in_camera[:, 0] / safe_z + self.cx
        y = -self.fy * in_camera[:, 1] / safe_z + self.cy
        return torch.stack([x, y], dim=-1), z
