"""Turntables: cameras around an object, small images of its mesh, and the animation."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sa3d.export.box import Box
from sa3d.export.mesh_cleanup import vertex_normals
from sa3d.export.mesh_files import Mesh
from sa3d.geometry.camera import Camera
from sa3d.scene.scene import Scene

_FIELD_OF_VIEW = math.radians(30)
_ROOM = 1.04
"""Size of an image relative to the sphere around the object."""
_ALL_AROUND = math.radians(120)
"""Cameras see the object from all around if no gap between them is wider than this."""
_MILLISECONDS = 90


def turntable_cameras(scene: Scene, box: Box, frames: int, side: int) -> list[Camera]:
    """Return cameras once around a box, at the median elevation of the scene's cameras.

    If no photo shows the object from a wide range of directions, the cameras swing back and forth
    outside of that gap instead.

    Args:
        scene: with the cameras.
        box: around the object, in the world frame.
        frames: number of cameras.
        side: of their images, in pixels.
    """
    center = torch.tensor(box.center, dtype=torch.float32)
    offsets = torch.stack([view.camera.position.cpu().float() for view in scene.views]) - center
    height = float(torch.atan2(offsets[:, 2], offsets[:, :2].norm(dim=-1)).median())
    distance = _ROOM * np.linalg.norm(box.dimensions) / 2 / math.sin(_FIELD_OF_VIEW / 2)
    focal = side / 2 / math.tan(_FIELD_OF_VIEW / 2)
    cameras = []
    for angle in _angles(torch.atan2(offsets[:, 1], offsets[:, 0]), frames):
        level = distance * math.cos(height)
        back = (level * math.cos(angle), level * math.sin(angle), distance * math.sin(height))
        pose = _looking_back(torch.tensor(back), center)
        cameras.append(Camera(pose, focal, focal, side / 2, side / 2, side, side))
    return cameras


def animated_webp(images: Sequence[np.ndarray]) -> bytes:
    """Encode images, uint8 [H, W, 4], as an animated WebP that repeats forever."""
    from PIL import Image

    first, *others = [Image.fromarray(pixels, "RGBA") for pixels in images]
    stream = io.BytesIO()
    first.save(
        stream,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=_MILLISECONDS,
        loop=0,
        quality=75,
        method=4,
    )
    return stream.getvalue()


def _angles(seen: Tensor, frames: int) -> list[float]:
    """Return the azimuths of the turn, given those of the scene's cameras [V], in radians."""
    ordered = seen.sort().values
    gaps = torch.cat([ordered[1:], ordered[:1] + 2 * math.pi]) - ordered
    widest = float(gaps.max())
    start = float(ordered[int(gaps.argmax())]) + widest  # end of the gap
    if widest < _ALL_AROUND:
        return [start + 2 * math.pi * i / frames for i in range(frames)]
    half = (2 * math.pi - widest) / 2
    return [start + half * (1 - math.cos(2 * math.pi * i / frames)) for i in range(frames)]


def _looking_back(back: Tensor, target: Tensor) -> Tensor:
    """Return ``c2w`` [3, 4] of a camera at ``target + back`` that looks at ``target``, z up."""
    z = torch.nn.functional.normalize(back, dim=0)
    x = torch.stack([-z[1], z[0], torch.zeros(())])
    x = torch.nn.functional.normalize(x, dim=0)
    return torch.stack([x, torch.linalg.cross(z, x), z, target + back], dim=1)


_POINTS = 800_000
_FINER = 2
"""Images are drawn this many times larger and then averaged, for soft edges."""
_AMBIENT = 0.55
"""Brightness of a surface seen from the side; it is 1 from the front."""


class MeshRenderer:
    """A renderer of a mesh with colors per vertex, lit from the camera, without a graphics card.

    Points all over the mesh are drawn, the nearest ones last. Faces are seen from outside only.
    """

    def __init__(self, mesh: Mesh, seed: int = 0) -> None:
        """Spread points evenly over the mesh.

        Raises:
            ValueError: the mesh has no colors per vertex.
        """
        if mesh.colors is None:
            raise ValueError("a mesh with colors per vertex is needed")
        random = np.random.default_rng(seed)
        corners = mesh.vertices[mesh.faces]
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        areas = np.linalg.norm(across, axis=1)
        share = areas.cumsum() / areas.sum()
        face = np.searchsorted(share, (np.arange(_POINTS) + 0.5) / _POINTS).clip(max=len(areas) - 1)
        a, b = np.sort(random.random((2, _POINTS)), axis=0)
        weights = np.stack([a, b - a, 1 - b], axis=1)[:, :, None]
        normals = vertex_normals(mesh.vertices, mesh.faces)
        self._points, self._colors, self._normals = (
            (values[mesh.faces[face]] * weights).sum(axis=1)
            for values in (mesh.vertices, mesh.colors, normals)
        )

    def draw(self, camera: Camera) -> np.ndarray:
        """Draw the mesh at the camera's size: uint8 [H, W, 4], transparent outside of the mesh."""
        towards = camera.position.cpu().numpy() - self._points
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        facing = (towards * self._normals).sum(axis=1)
        height, width = camera.height * _FINER, camera.width * _FINER
        xy, depth = camera.project(torch.from_numpy(self._points).float())
        x, y = np.floor(xy.numpy() * _FINER).astype(int).T
        seen = (facing > 0) & (depth.numpy() > 0)
        seen &= (x >= 0) & (x < width) & (y >= 0) & (y < height)
        order = np.flatnonzero(seen)[np.argsort(-depth.numpy()[seen], kind="stable")]
        fine = np.zeros((height, width, 4))
        bright = _AMBIENT + (1 - _AMBIENT) * facing[order, None]
        fine[y[order], x[order], :3] = self._colors[order] * bright  # the nearest point is last
        fine[y[order], x[order], 3] = 255
        blocks = fine.reshape(camera.height, _FINER, camera.width, _FINER, 4)
        covered = blocks[..., 3:] > 0
        count = covered.sum(axis=(1, 3))
        rgb = (blocks[..., :3] * covered).sum(axis=(1, 3)) / count.clip(1)
        alpha = 255 * count / _FINER**2
        return np.rint(np.concatenate([rgb, alpha], axis=-1)).astype(np.uint8)
