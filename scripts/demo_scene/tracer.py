"""Ray tracer for the demo scenes: Embree finds the hits, this file shades them.

Cameras follow Nerfstudio: OpenGL axes (x right, y up, looking along -z), and pixel (x, y) is
the square whose centre lies at (x + 0.5, y + 0.5).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import trimesh
from numpy.typing import NDArray
from trimesh.ray.ray_pyembree import RayMeshIntersector

from .textures import Array, Texture

# Sub-pixel positions of the rays of one pixel; the first one, the centre, decides the mask.
SUBPIXELS = ((0.5, 0.5), (0.375, 0.125), (0.875, 0.375), (0.625, 0.875), (0.125, 0.625))
SURFACE_OFFSET = 1e-3
SMOOTH_ANGLE = np.radians(35.0)
GAMMA = 2.2


@dataclass(frozen=True)
class Body:
    """One thing in the world: a mesh in world coordinates and the texture in its own."""

    name: str
    mesh: trimesh.Trimesh
    texture: Texture
    placement: Array
    """Local to world, `[4, 4]`."""
    is_object: bool = False
    casts_shadow: bool = False
    glows: bool = False
    """The texture is the light that leaves the surface (a sky), not its reflectance."""


@dataclass(frozen=True)
class Light:
    """A round lamp: position in the world, radius (softens the shadow), brightness."""

    position: tuple[float, float, float]
    radius: float
    brightness: tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """Pinhole camera; `pose` is camera to world `[4, 4]`, the rest is in pixels."""

    pose: Array
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def rays(self, subpixel: tuple[float, float]) -> tuple[Array, Array]:
        """Return origins and unit directions `[H * W, 3]` through one point of each pixel."""
        y, x = np.mgrid[: self.height, : self.width].reshape(2, -1)
        local = np.stack(
            [
                (x + subpixel[0] - self.cx) / self.fx,
                -(y + subpixel[1] - self.cy) / self.fy,
                -np.ones(x.size),
            ],
            axis=1,
        )
        directions = local @ self.pose[:3, :3].T
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return np.broadcast_to(self.pose[:3, 3], directions.shape), directions

    def project(self, points: Array) -> tuple[Array, Array]:
        """Return pixel coordinates `[N, 2]` and depth along the view axis `[N]` of world points."""
        local = (points - self.pose[:3, 3]) @ self.pose[:3, :3]
        depth = -local[:, 2]
        x = self.cx + self.fx * local[:, 0] / depth
        y = self.cy - self.fy * local[:, 1] / depth
        return np.stack([x, y], axis=1), depth


def _hemisphere(count: int) -> Array:
    """Return evenly spread unit directions `[count, 3]` with z > 0 (a Fibonacci spiral)."""
    z = (np.arange(count) + 0.5) / count
    turn = np.pi * (3.0 - np.sqrt(5.0)) * np.arange(count)
    radius = np.sqrt(1.0 - z**2)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)


class RayTracer:
    """Renderer of photos and exact instance masks of a list of bodies."""

    def __init__(self, bodies: Sequence[Body], lights: Sequence[Light], ambient: float):
        self.bodies = list(bodies)
        self.lights = list(lights)
        self.ambient = ambient
        smooth = [trimesh.graph.smooth_shade(b.mesh, angle=SMOOTH_ANGLE) for b in bodies]
        self._body_of_face = np.repeat(np.arange(len(bodies)), [len(m.faces) for m in smooth])
        self._triangles = np.concatenate([m.triangles for m in smooth])
        self._normals = np.concatenate([m.vertex_normals[m.faces] for m in smooth])
        self._face_normals = np.concatenate([m.face_normals for m in smooth])
        self._world = RayMeshIntersector(
            trimesh.Trimesh(
                self._triangles.reshape(-1, 3),
                np.arange(3 * len(self._triangles)).reshape(-1, 3),
                process=False,
            )
        )
        blockers = [b.mesh for b in bodies if b.casts_shadow]
        self._blockers = RayMeshIntersector(trimesh.util.concatenate(blockers))
        self._solo = {b.name: RayMeshIntersector(b.mesh) for b in bodies if b.is_object}
        self._sky = _hemisphere(4 * len(SUBPIXELS))

    def render(self, camera: Camera) -> NDArray[np.uint8]:
        """Render an antialiased photo `[H, W, 3]` (sRGB)."""
        total = np.zeros((camera.height * camera.width, 3))
        for k, subpixel in enumerate(SUBPIXELS):
            total += np.clip(self._radiance(*camera.rays(subpixel), k), 0.0, 1.0)
        image = (total / len(SUBPIXELS)) ** (1.0 / GAMMA)
        return np.round(255.0 * image.reshape(camera.height, camera.width, 3)).astype(np.uint8)

    def instances(self, camera: Camera) -> NDArray[np.int64]:
        """Return, per pixel `[H, W]`, the index in `bodies` of the body at its centre; -1: none."""
        face = self._world.intersects_first(*camera.rays(SUBPIXELS[0]))
        body = np.where(face >= 0, self._body_of_face[face], -1)
        return body.reshape(camera.height, camera.width)

    def silhouette(self, name: str, camera: Camera) -> NDArray[np.bool_]:
        """Return the pixels `[H, W]` that the named object would fill if nothing hid it."""
        hit = self._solo[name].intersects_any(*camera.rays(SUBPIXELS[0]))
        return hit.reshape(camera.height, camera.width)

    def _radiance(self, origins: Array, directions: Array, sample: int) -> Array:
        """Return linear light `[N, 3]` along rays; each sample takes other points of the lamps."""
        face = self._world.intersects_first(origins, directions)
        radiance = np.zeros((len(face), 3))
        hit = np.flatnonzero(face >= 0)
        face, origins, directions = face[hit], origins[hit], directions[hit]
        flat = self._face_normals[face]
        depth = np.sum((self._triangles[face, 0] - origins) * flat, axis=1)
        depth /= np.sum(directions * flat, axis=1)
        points = origins + depth[:, None] * directions
        share = trimesh.triangles.points_to_barycentric(self._triangles[face], points)
        normals = np.einsum("nk,nkc->nc", share, self._normals[face])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        away = np.sum(flat * directions, axis=1) > 0
        normals[away] *= -1.0
        flat = np.where(away[:, None], -flat, flat)

        body = self._body_of_face[face]
        albedo = np.zeros_like(points)
        glows = np.zeros(len(points), dtype=bool)
        for index in np.unique(body):
            inside = body == index
            local = trimesh.transform_points(
                points[inside], np.linalg.inv(self.bodies[index].placement)
            )
            albedo[inside] = np.clip(self.bodies[index].texture(local), 0.0, 1.0) ** GAMMA
            glows[inside] = self.bodies[index].glows
        light = self._light(points + SURFACE_OFFSET * flat, normals, sample)
        radiance[hit] = albedo * np.where(glows[:, None], 1.0, light)
        return radiance

    def _light(self, points: Array, normals: Array, sample: int) -> Array:
        """Return the light `[N, 3]` on surface points: lamps, sky dome and a constant bounce."""
        total = np.full((len(points), 3), 0.0)
        total += self.ambient * (0.30 - 0.12 * normals[:, 2:])
        for direction in self._sky[sample :: len(SUBPIXELS)]:
            cosine = np.maximum(normals @ direction, 0.0)
            lit = (cosine > 0) & ~self._blocked(points, np.broadcast_to(direction, points.shape))
            total += (self.ambient * 2.0 * len(SUBPIXELS) / len(self._sky) * cosine * lit)[:, None]
        for lamp in self.lights:
            turn = 2.0 * np.pi * sample / len(SUBPIXELS)
            spot = np.array(lamp.position)
            spot = spot + lamp.radius * np.array([np.cos(turn), np.sin(turn), 0.0])
            towards = spot - points
            towards /= np.linalg.norm(towards, axis=1, keepdims=True)
            cosine = np.maximum(np.sum(normals * towards, axis=1), 0.0)
            lit = (cosine > 0) & ~self._blocked(points, towards)
            total += (cosine * lit)[:, None] * np.array(lamp.brightness)
        return total

    def _blocked(self, points: Array, directions: Array) -> NDArray[np.bool_]:
        """Return whether a shadow caster lies on each ray `[N]`."""
        return np.asarray(self._blockers.intersects_any(points, directions), dtype=bool)
