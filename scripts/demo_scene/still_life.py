"""Parts of a still life, and functions that place things in it.

World frame: z up, the table-top's middle at the origin, one unit is about a metre.
"""

from dataclasses import dataclass

import numpy as np
import trimesh

from . import textures as tx
from .tracer import Body, Light

FLOOR = -0.75


@dataclass(frozen=True)
class StillLife:
    """Everything the tracer needs, and a color per object for people."""

    bodies: list[Body]
    lights: list[Light]
    ambient: float
    colors: dict[str, tx.Color]


def place(
    name: str,
    mesh: trimesh.Trimesh,
    texture: tx.Texture,
    at: tuple[float, float, float] = (0.0, 0.0, 0.0),
    yaw: float = 0.0,
    **flags: bool,
) -> Body:
    """Turn a mesh by `yaw` degrees about z, then move it."""
    placement = np.asarray(trimesh.transformations.rotation_matrix(np.radians(yaw), [0, 0, 1]))
    placement[:3, 3] = at
    return Body(name, mesh.copy().apply_transform(placement), texture, placement, **flags)


def on_table(
    name: str, mesh: trimesh.Trimesh, texture: tx.Texture, x: float, y: float, yaw: float = 0.0
) -> Body:
    """Return an object on the table."""
    return place(name, mesh, texture, (x, y, 0.0), yaw, is_object=True, casts_shadow=True)


def solid(red: float, green: float, blue: float) -> tx.Texture:
    """Return one color with slight mottling, so that no surface is flat."""
    color = np.array([red, green, blue])
    return lambda p: color * (0.93 + 0.14 * tx.fractal_noise(p / 0.07, seed=5)[:, None])


def beside(x: float, y: float, yaw: float, along: float, away: float) -> tuple[float, float]:
    """Return world (x, y) of a point in the frame of a block at (x, y) turned by `yaw`."""
    c, s = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    return x + c * along - s * away, y + s * along + c * away
