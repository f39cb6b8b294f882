"""The color of points on an object's surface, from the photos or from the NeRF."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sa3d.export.config import ColorSource
from sa3d.geometry.camera import Camera, Rays
from sa3d.objects.segmentation import Segmentation
from sa3d.results.final_masks import final_mask
from sa3d.results.masked_field import MaskedField
from sa3d.results.object_volume import ObjectVolume, cell_size
from sa3d.scene.scene import PreparedView, Scene

_SHARPNESS = 6
"""Power of a photo's weight: large takes the best one alone, small blurs."""
_GRAZING = 0.2
"""Cosine of the angle to the normal below which a photo does not count."""
_BEHIND = 1.5
"""Voxels a point may lie behind the depth map and still be seen."""
_MASK_EDGE = 1
"""Pixels at the edge of a mask that do not count: they are partly background."""
_ABOVE = 1.5
"""Voxels above the surface where rays into the NeRF start."""
_CHUNK = 1 << 12


def surface_colors(
    scene: Scene,
    segmentation: Segmentation,
    name: str,
    volume: ObjectVolume,
    positions: np.ndarray,
    normals: np.ndarray,
    source: ColorSource,
) -> np.ndarray:
    """Colors uint8 [N, 3] of surface points, world frame; of the nearest known one where unseen.

    Args:
        volume: the object's.
        positions, normals: [N, 3]; normals have unit length and point outward.
        source: ``photos`` blends the photos that see a point, those that see it from near and
            straight on above all; ``nerf`` renders short rays into the surface.
    """
    points, outward = (torch.from_numpy(a).float() for a in (positions, normals))
    if source == "photos":
        rgb, known = _from_photos(scene, segmentation, name, points, outward)
    else:
        rgb, known = _from_nerf(scene, volume, points, outward)
    values = rgb.clamp(0, 1).numpy()
    values = _filled(values, known.numpy(), positions)
    return np.rint(values * 255).astype(np.uint8)


def _from_photos(
    scene: Scene, segmentation: Segmentation, name: str, points: Tensor, normals: Tensor
) -> tuple[Tensor, Tensor]:
    """Colors [N, 3] in [0, 1] and whether any photo shows the point, bool [N]."""
    total, weights = torch.zeros_like(points), torch.zeros_like(points[:, 0])
    tolerance = _BEHIND * cell_size(scene.grid, scene.grid.bounds.to_unit(points))
    for index, view in enumerate(scene.views):
        mask, _ = final_mask(scene, segmentation, name, index)
        if not mask.any():
            continue
        to_camera = view.camera.position.to(points) - points
        distance = to_camera.norm(dim=-1)
        facing = (to_camera * normals).sum(-1) / distance
        front = torch.nonzero(facing > _GRAZING)[:, 0]
        pixels = _seen_pixels(
            scene.prepared(index), view.camera, points[front], distance[front] - tolerance[front]
        )
        inside = _bilinear(_eroded(mask), pixels)[:, 0] > 0.5
        front, pixels = front[inside], pixels[inside]
        weight = (facing[front] / distance[front]) ** _SHARPNESS
        image = torch.tensor(view.image(), dtype=torch.float32) / 255
        total[front] += weight[:, None] * _bilinear(image, pixels)
        weights[front] += weight
    return total / weights.clamp_min(1e-30)[:, None], weights > 0


def _seen_pixels(prepared: PreparedView, camera: Camera, points: Tensor, nearest: Tensor) -> Tensor:
    """Where points [N, 3] appear in a photo, as grid_sample counts, [N, 2].

    Far outside where they do not: beyond the border, or behind what the NeRF's depth shows.

    Args:
        nearest: depth [N] the picture must have to show the point.
    """
    xy, z = camera.project(points)
    at = xy / torch.tensor([camera.width, camera.height]) * 2 - 1
    depth = _bilinear(prepared.render.depth[..., None], at, mode="nearest")[:, 0]
    visible = (z > 0) & (at.abs() < 1).all(dim=-1) & (depth > nearest)
    return torch.where(visible[:, None], at, 9.0)


def _bilinear(image: Tensor, at: Tensor, mode: str = "bilinear") -> Tensor:
    """Values [N, C] of an image [H, W, C] at positions [N, 2] in [-1, 1]; 0 outside."""
    planes = image.permute(2, 0, 1)[None]
    sampled = functional.grid_sample(planes, at[None, None], mode=mode, align_corners=False)
    return sampled[0, :, 0].T


def _eroded(mask: np.ndarray) -> Tensor:
    """A mask [H, W] without its edge, float32 [H, W, 1]."""
    outside = 1 - torch.from_numpy(mask)[None, None].float()
    grown = functional.max_pool2d(outside, 2 * _MASK_EDGE + 1, stride=1, padding=_MASK_EDGE)
    return 1 - grown[0, 0, :, :, None]


def _from_nerf(
    scene: Scene, volume: ObjectVolume, points: Tensor, normals: Tensor
) -> tuple[Tensor, Tensor]:
    """Colors [N, 3] in [0, 1] and whether a ray met the object, bool [N]."""
    field = MaskedField(scene.field, volume, "object")
    above = _ABOVE * cell_size(scene.grid, scene.grid.bounds.to_unit(points))
    rays = Rays((points + normals * above[:, None]).to(scene.device), -normals.to(scene.device))
    colors, known = [], []
    for start in range(0, len(rays), _CHUNK):
        render = field.render(rays[start : start + _CHUNK])
        light = render.accumulation[:, None].cpu()
        white = 1 - light  # what MaskedField puts behind a lone object
        colors.append((render.rgb.cpu() - white) / light.clamp_min(1e-3))
        known.append(light[:, 0] > 0.5)
    return torch.cat(colors), torch.cat(known)


def _filled(values: np.ndarray, known: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Values [N, C] with the unknown ones taken from the nearest known position; grey if none."""
    from scipy.spatial import KDTree

    if not known.any():
        return np.full_like(values, 0.5)
    if not known.all():
        _, nearest = KDTree(positions[known]).query(positions[~known])
        values[~known] = values[known][nearest]
    return values
