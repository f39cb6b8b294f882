"""A small scene with known answers: two objects on a table, with views from all around."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sa3d.geometry.bounds import Bounds
from sa3d.geometry.camera import Camera
from sa3d.objects.events import RoundDone
from sa3d.objects.inverse_rendering import Evidence, Vote
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import ObjectResult, Segmentation, ViewRecord
from sa3d.scene.config import PrepareConfig
from sa3d.scene.scene import Scene
from sa3d.scene.views import View
from sa3d.testing.analytic_fields import AnalyticField, Box, Shape, Sphere, Vector

BALL = Sphere((0.25, 0.1, -0.1), 0.3)
CRATE = Box((-0.55, -0.35, -0.4), (-0.15, 0.05, 0.05))
TABLE = Box((-0.9, -0.9, -0.6), (0.9, 0.9, -0.4), color=(0.6, 0.6, 0.5))


@dataclass(frozen=True)
class AnalyticScene:
    """A scene, its field, and the exact masks, bool [V, H, W], of its shapes by name."""

    scene: Scene
    field: AnalyticField
    masks: Mapping[str, np.ndarray]


def analytic_scene(
    folder: Path,
    shapes: Mapping[str, Shape] | None = None,
    *,
    kind: Literal["box", "contracted", "contracted-l2"] = "box",
    num_views: int = 12,
    size: tuple[int, int] = (48, 36),
    cameras: Sequence[Camera] | None = None,
    resolution: int = 40,
    softness: float = 0.0,
    density: float = 400.0,
    num_samples: int = 96,
    prepare: bool = True,
) -> AnalyticScene:
    """Make a scene of analytic shapes; by default, a spiral of cameras looks at the origin.

    Args:
        folder: gets ``images/`` (PNG) and ``cache/``.
        shapes: by name; by default a ball and a crate on a table.
        kind: of the bounds of the field, over the box [-1, 1]^3.
        num_views: number of cameras on the spiral.
        size: (width, height) of the photos and of the operators.
        cameras: all of size ``size``; replace the spiral.
        resolution: of the mask grid over the unit cube; in contracted space, half of it along each
            side is for the outside.
        softness: of the field, see ``AnalyticField``.
        density: of the field, see ``AnalyticField``.
        num_samples: of the field, along each ray.
        prepare: prepare the scene.

    Example:
        >>> made = analytic_scene(tmp_path)
        >>> segmentation = voted_segmentation(made.scene, made.masks)
    """
    shapes = shapes or {"ball": BALL, "crate": CRATE, "table": TABLE}
    field = AnalyticField(
        list(shapes.values()),
        Bounds(kind),
        softness=softness,
        density=density,
        num_samples=num_samples,
    )
    cameras = cameras or [spiral_camera(i, num_views, size) for i in range(num_views)]
    views = [_photograph(field, camera, folder / "images") for camera in cameras]
    config = PrepareConfig(resolution=resolution, ray_side=max(size))
    scene = Scene(field, views, folder / "cache", config)
    if prepare:
        list(scene.prepare())
    instances = torch.stack(
        [field.instances(c.image_rays()).reshape(c.height, c.width) for c in cameras]
    )
    return AnalyticScene(
        scene, field, {name: (instances == i).numpy() for i, name in enumerate(shapes)}
    )


def look_at(position: Vector, target: Vector, size: tuple[int, int], index: int = -1) -> Camera:
    """Return a pinhole camera that looks at ``target``, z up; its field of view is 53 degrees."""
    origin = torch.tensor(position)
    back = torch.nn.functional.normalize(origin - torch.tensor(target), dim=0)
    right = torch.nn.functional.normalize(
        torch.linalg.cross(torch.tensor([0.0, 0.0, 1.0]), back), dim=0
    )
    up = torch.linalg.cross(back, right)
    width, height = size
    return Camera(
        c2w=torch.stack([right, up, back, origin], dim=1),
        fx=float(width),
        fy=float(width),
        cx=width / 2,
        cy=height / 2,
        width=width,
        height=height,
        index=index,
    )


def spiral_camera(index: int, count: int, size: tuple[int, int]) -> Camera:
    """Return camera ``index`` of ``count`` around the origin, 2.4 units away, at three heights."""
    angle, height = 2 * math.pi * index / count, (0.3, 1.0, 1.7)[index % 3]
    radius = math.sqrt(2.4**2 - height**2)
    position = (radius * math.cos(angle), radius * math.sin(angle), height)
    return look_at(position, (0.0, 0.0, -0.15), size, index)


def voted_segmentation(scene: Scene, masks: Mapping[str, np.ndarray]) -> Segmentation:
    """Return the segmentation of a perfect loop: every view votes with its exact mask.

    Args:
        scene: prepared.
        masks: by object, bool [V, H, W] at the size of the photos.
    """
    return Segmentation(
        scene_key=scene.key,
        elements=scene.elements,
        objects={name: _voted_object(scene, name, stack) for name, stack in masks.items()},
        prior=0.3,
        prior_weight=0.05,
    )


def _voted_object(scene: Scene, name: str, masks: np.ndarray) -> ObjectResult:
    evidence = Evidence.zeros(len(scene.elements))
    for index, mask in enumerate(masks):
        prepared = scene.prepared(index)
        size = (prepared.camera.height, prepared.camera.width)
        small = _resized(torch.from_numpy(mask), size).reshape(-1)
        evidence.add(prepared.operator, Vote(small, torch.ones_like(small)))
    y, x = np.argwhere(masks[0])[len(np.argwhere(masks[0])) // 2]
    prompt = Prompt(scene.views[0].name, name, points=((float(x), float(y)),), labels=(1,))
    views = {
        index: ViewRecord("accepted" if index else "prompted", 0.95, 0.9, 1.0, mask)
        for index, mask in enumerate(masks)
    }
    done = RoundDone(
        object=name,
        round=1,
        flips=0,
        labelled=int(evidence.labels().sum()),
        accepted=len(masks),
        rejected=0,
        agreement=0.95,
        unvoted_agreement=None,
        prompt_agreement=1.0,
        changed_views=0,
        seconds=0.1,
    )
    return ObjectResult(name, [prompt], evidence, views, [done], True, "exact masks voted")


def _resized(mask: Tensor, size: tuple[int, int]) -> Tensor:
    return torch.nn.functional.interpolate(mask[None, None].float(), size, mode="area")[0, 0]


def _photograph(field: AnalyticField, camera: Camera, folder: Path) -> View:
    from PIL import Image

    colors = torch.tensor([shape.color for shape in field.shapes] + [(0.0, 0.0, 0.0)])
    rgb = colors[field.instances(camera.image_rays())]
    pixels = (rgb * 255).round().byte().reshape(camera.height, camera.width, 3).numpy()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"frame_{camera.index:05d}.png"
    Image.fromarray(pixels).save(path)
    return View(path.name, camera, path)
