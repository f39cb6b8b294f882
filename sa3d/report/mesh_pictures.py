"""Small pictures of a mesh without a graphics card: points all over it, the nearest ones seen."""

from __future__ import annotations

import numpy as np
import torch

from sa3d.export.mesh_cleanup import vertex_normals
from sa3d.export.triangle_mesh import Mesh
from sa3d.geometry.camera import Camera

_POINTS = 800_000
_FINER = 2
"""Pictures are drawn this many times larger, then averaged: soft edges."""
_AMBIENT = 0.55
"""Brightness of a surface seen from the side; seen straight on it is 1."""


class MeshPictures:
    """Draws a mesh with colors per vertex, lit from the camera, faces seen from outside only."""

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
        """The picture [H, W, 4] uint8, transparent where the mesh is not; H, W are the camera's."""
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
        fine[y[order], x[order], :3] = self._colors[order] * bright  # the nearest comes last
        fine[y[order], x[order], 3] = 255
        blocks = fine.reshape(camera.height, _FINER, camera.width, _FINER, 4)
        covered = blocks[..., 3:] > 0
        count = covered.sum(axis=(1, 3))
        rgb = (blocks[..., :3] * covered).sum(axis=(1, 3)) / count.clip(1)
        alpha = 255 * count / _FINER**2
        return np.rint(np.concatenate([rgb, alpha], axis=-1)).astype(np.uint8)
