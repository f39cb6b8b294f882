"""Cameras and rays: pixels become rays, and points become pixels, only in this module.

Camera-to-world matrices are in OpenGL's convention (x right, y up, the camera looks along -z), in
the world frame, which is Nerfstudio's. Pixels are integer indices ``(x, y)``, x to the right and y
down, of an image at the camera's size. Only this module adds the half pixel between an index and
the pixel's centre.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rays:
    """A bundle of R rays in the world frame.

    Attributes:
        origins: [R, 3] world units.
        directions: [R, 3] unit length.
        pixel_area: [R] area of the ray's pixel at distance 1 (the angle to the next pixel in x
            times that in y), for fields that render cones; None for rays of no camera.
    """

    origins: Tensor
    directions: Tensor
    pixel_area: Tensor | None = None

    def __len__(self) -> int:
        return self.origins.shape[0]

    def __getitem__(self, index: slice | Tensor) -> Rays:
        area = None if self.pixel_area is None else self.pixel_area[index]
        return Rays(self.origins[index], self.directions[index], area)


@dataclass(frozen=True)
class Camera:
    """A perspective camera, with OpenCV's lens distortion where the images are distorted.

    Attributes:
        c2w: [3, 4] float, camera-to-world, OpenGL's convention, world units.
        fx, fy: focal lengths, pixels of a ``width`` x ``height`` image.
        cx, cy: principal point, pixels; the upper left corner of the image is (0, 0).
        width, height: image size, pixels.
        index: position among the training images, for fields with per-image state; -1 for a camera
            that is not one of them.
        distortion: (k1, k2, k3, k4, p1, p2) of OpenCV's model, where k3 and k4 are the 6th and 8th
            order radial terms as in Nerfstudio; None for a pinhole camera.

    Example:
        >>> pose = torch.eye(4)[:3]  # at the origin, looking along -z
        >>> camera = Camera(pose, fx=500, fy=500, cx=320, cy=240, width=640, height=480)
        >>> camera.project(torch.tensor([[0.0, 0.0, -2.0]]))
        (tensor([[320., 240.]]), tensor([2.]))
        >>> camera.fitted(64).image_rays().directions.shape
        torch.Size([3072, 3])
    """

    c2w: Tensor
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    index: int = -1
    distortion: tuple[float, float, float, float, float, float] | None = None

    @property
    def position(self) -> Tensor:
        """Camera centre [3], world frame."""
        return self.c2w[:, 3]

    @property
    def forward(self) -> Tensor:
        """Viewing direction [3], unit length, world frame."""
        return -self.c2w[:, 2]

    def resized(self, width: int, height: int) -> Camera:
        """Return the same camera for an image of another size (pixels); intrinsics are scaled."""
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
        """Return the same camera, reduced to at most ``max_side`` pixels on its longer side."""
        scale = min(1.0, max_side / max(self.width, self.height))
        return self.resized(max(1, round(self.width * scale)), max(1, round(self.height * scale)))

    def pixel_rays(self, xy_px: Tensor) -> Rays:
        """Return the rays through the centres of pixels, with the area of their pixels.

        Args:
            xy_px: [R, 2] pixel indices (x, y).
        """
        c2w = self.c2w.to(torch.float32)
        xy = xy_px.to(torch.float32).to(c2w.device) + 0.5
        directions = self._directions(xy)
        beside, below = (self._directions(xy + xy.new_tensor(step)) for step in ((1, 0), (0, 1)))
        area = (directions - beside).norm(dim=-1) * (directions - below).norm(dim=-1)
        return Rays(c2w[:, 3].expand_as(directions), directions, area)

    def _directions(self, xy: Tensor) -> Tensor:
        """Return the directions [R, 3], unit length, world frame, of image coordinates [R, 2]."""
        plane = torch.stack(
            [(xy[:, 0] - self.cx) / self.fx, (xy[:, 1] - self.cy) / self.fy], dim=-1
        )
        plane = self._undistort(plane)
        in_camera = torch.stack([plane[:, 0], -plane[:, 1], -torch.ones_like(plane[:, 0])], dim=-1)
        directions = in_camera @ self.c2w.to(torch.float32)[:, :3].T
        return directions / directions.norm(dim=-1, keepdim=True)

    def image_rays(self) -> Rays:
        """Return the rays through all pixels, row by row: ``height * width`` rays."""
        y, x = torch.meshgrid(torch.arange(self.height), torch.arange(self.width), indexing="ij")
        return self.pixel_rays(torch.stack([x.reshape(-1), y.reshape(-1)], dim=-1))

    def project(self, points_world: Tensor) -> tuple[Tensor, Tensor]:
        """Project points to image coordinates.

        Args:
            points_world: [N, 3] world frame.

        Returns:
            ``xy`` [N, 2] in pixels, where the centre of pixel (i, j) is (i + 0.5, j + 0.5), and
            ``z`` [N], the distance along the optical axis in world units, positive in front of the
            camera.
        """
        c2w = self.c2w.to(points_world)
        in_camera = (points_world - c2w[:, 3]) @ c2w[:, :3]
        z = -in_camera[:, 2]
        safe_z = torch.where(z.abs() < 1e-9, torch.full_like(z, 1e-9), z)
        plane = self._distort(
            torch.stack([in_camera[:, 0] / safe_z, -in_camera[:, 1] / safe_z], dim=-1)
        )
        x = self.fx * plane[:, 0] + self.cx
        y = self.fy * plane[:, 1] + self.cy
        return torch.stack([x, y], dim=-1), z

    def in_image(self, points_world: Tensor) -> Tensor:
        """Return whether points [N, 3] (world frame) project into the image: [N] bool."""
        xy, z = self.project(points_world)
        limit = torch.tensor([self.width, self.height]).to(xy)
        return ((xy >= 0) & (xy < limit)).all(dim=-1) & (z > 0)

    def _radial_and_tangential(self, plane: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distortion of points as factors [N, 1] and offsets [N, 2] (OpenCV, y down)."""
        assert self.distortion is not None
        k1, k2, k3, k4, p1, p2 = self.distortion
        x, y = plane[:, 0], plane[:, 1]
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4)))
        tangential = torch.stack(
            [2 * p1 * x * y + p2 * (r2 + 2 * x * x), 2 * p2 * x * y + p1 * (r2 + 2 * y * y)], dim=-1
        )
        return radial[:, None], tangential

    def _distort(self, plane: Tensor) -> Tensor:
        if self.distortion is None:
            return plane
        radial, tangential = self._radial_and_tangential(plane)
        return plane * radial + tangential

    def _undistort(self, distorted: Tensor) -> Tensor:
        if self.distortion is None:
            return distorted
        plane = distorted
        for _ in range(20):  # fixed-point iteration; converges as lenses distort little
            radial, tangential = self._radial_and_tangential(plane)
            plane = (distorted - tangential) / radial
        return plane
