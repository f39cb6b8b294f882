"""Generated scenes: colored solids on a table, different for every seed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from sa3d.geometry.camera import Camera
from sa3d.testing.analytic_fields import Box, Shape, Sphere
from sa3d.testing.analytic_scene import TABLE, AnalyticScene, analytic_scene, look_at

TOP = -0.4
"""Height of the table top, world units."""
APART = 0.02
"""Least distance between solids, world units; small, so that they touch in the images."""


def random_shapes(seed: int, count: int = 4) -> dict[str, Shape]:
    """Draw balls and crates of 0.3 to 0.7 world units on a table, by name; the table comes last.

    There are fewer than ``count`` solids if there is no room for more.
    """
    random = np.random.default_rng(seed)
    shapes: dict[str, Shape] = {}
    taken: list[tuple[float, float, float]] = []
    for _ in range(50 * count):
        half = random.uniform(0.15, 0.35, 3)
        x, y = random.uniform(-0.55, 0.55, 2)
        r, g, b = (float(c) for c in random.uniform(0.1, 0.95, 3))
        round_one = bool(random.random() < 0.5)
        radius = float(half[0] if round_one else np.hypot(half[0], half[1]))
        if any(np.hypot(x - u, y - v) < radius + w + APART for u, v, w in taken):
            continue
        taken.append((x, y, radius))
        if round_one:
            center = (float(x), float(y), float(TOP + half[0]))
            shapes[f"ball{len(taken)}"] = Sphere(center, radius, (r, g, b))
        else:
            low = (float(x - half[0]), float(y - half[1]), TOP)
            high = (float(x + half[0]), float(y + half[1]), float(TOP + 2 * half[2]))
            shapes[f"crate{len(taken)}"] = Box(low, high, (r, g, b))
        if len(taken) == count:
            break
    return {**shapes, "table": TABLE}


def random_scene(
    folder: Path,
    seed: int,
    *,
    count: int = 4,
    num_views: int = 20,
    size: tuple[int, int] = (64, 48),
    resolution: int = 48,
    density: float = 400.0,
) -> AnalyticScene:
    """Make a scene of ``random_shapes``, with cameras on a wavy circle around them.

    See ``analytic_scene`` for the arguments.
    """
    cameras = [_walking_camera(i, num_views, size) for i in range(num_views)]
    shapes = random_shapes(seed, count)
    return analytic_scene(
        folder,
        shapes,
        cameras=cameras,
        size=size,
        resolution=resolution,
        density=density,
    )


def _walking_camera(index: int, count: int, size: tuple[int, int]) -> Camera:
    """Return camera ``index`` of ``count``, 2.4 units from the origin, 0.6 to 1.6 units above."""
    angle = 2 * math.pi * index / count
    height = 1.1 + 0.5 * math.sin(2 * angle)
    radius = math.sqrt(2.4**2 - height**2)
    position = (radius * math.cos(angle), radius * math.sin(angle), height)
    return look_at(position, (0.0, 0.0, -0.15), size, index)


def largest_in_first_view(scene: AnalyticScene) -> str:
    """Return the solid to prompt: the one, except the table, that covers most of the first view."""
    areas = {name: int(mask[0].sum()) for name, mask in scene.masks.items() if name != "table"}
    return max(areas, key=lambda name: areas[name])
