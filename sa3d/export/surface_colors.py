"""Colors of points on the surface of an object, from the photos or from the field."""

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
"""Exponent of a photo's weight; a large value selects the best photo, a small value blurs."""
_GRAZING = 0.2
"""A photo does not count if the cosine of its angle to the normal is below this."""
_BEHIND = 1.5
"""A point is seen if it is at most this many voxels behind the depth map."""
_MASK_EDGE = 1
"""Width in pixels of the edge of a mask that does not count, since it is partly background."""
_ABOVE = 1.5
"""Height above the surface, in voxels, at which rays into the field start."""
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
    """Return the colors of surface points, uint8 [N, 3].

    An unseen point gets the color of the nearest seen one.

    Args:
        scene: prepared, of the segmentation.
        segmentation: with the object.
        name: of the object.
        volume: of the object.
        positions: [N, 3], world frame.
        normals: [N, 3], outward, of unit length.
        source: ``photos`` blends the photos that see a point, and prefers near and frontal ones;
            ``nerf`` renders short rays into the surface.
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
    """Return colors [N, 3] in [0, 1], and True for the points that a photo shows, bool [N]."""
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
    """Return the pixels of points [N, 3] in a photo, in grid_sample's coordinates, [N, 2].

    Points that are outside the photo or hidden get a value far outside.

    Args:
        nearest: [N], least depth that the view must have to show the point.
    """
    xy, z = camera.project(points)
    at = xy / torch.tensor([camera.width, camera.height]) * 2 - 1
    depth = _bilinear(prepared.render.depth[..., None], at, mode="nearest")[:, 0]
    visible = (z > 0) & (at.abs() < 1).all(dim=-1) & (depth > nearest)
    return torch.where(visible[:, None], at, 9.0)


def _bilinear(image: Tensor, at: Tensor, mode: str = "bilinear") -> Tensor:
    """Sample an image [H, W, C] at positions [N, 2] in [-1, 1]: [N, C]; 0 outside."""
    planes = image.permute(2, 0, 1)[None]
    sampled = functional.grid_sample(planes, at[None, None], mode=mode, align_corners=False)
    return sampled[0, :, 0].T


def _eroded(mask: np.ndarray) -> Tensor:
    """Remove the edge of a mask [H, W]: float32 [H, W, 1]."""
    outside = 1 - torch.from_numpy(mask)[None, None].float()
    grown = functional.max_pool2d(outside, 2 * _MASK_EDGE + 1, stride=1, padding=_MASK_EDGE)
    return 1 - grown[0, 0, :, :, None]


def _from_nerf(
    scene: Scene, volume: ObjectVolume, points: Tensor, normals: Tensor
) -> tuple[Tensor, Tensor]:
    """Return colors [N, 3] in [0, 1], and True for the rays that hit the object, bool [N]."""
    field = MaskedField(scene.field, volume, "object")
    above = _ABOVE * cell_size(scene.grid, scene.grid.bounds.to_unit(points))
    rays = Rays((points + normals * above[:, None]).to(scene.device), -normals.to(scene.device))
    colors, known = [], []
    for start in range(0, len(rays), _CHUNK):
        render = field.render(rays[start : start + _CHUNK])
        light = render.accumulation[:, None].cpu()
        white = 1 - light  # the background of a MaskedField with the object alone
        colors.append((render.rgb.cpu() - white) / light.clamp_min(1e-3))
        known.append(light[:, 0] > 0.5)
    return torch.cat(colors), torch.cat(known)


def _filled(values: np.ndarray, known: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Fill unknown values [N, C] from the nearest known position; grey if none is known."""
    from scipy.spatial import KDTree

    if not known.any():
        return np.full_like(values, 0.5)
    if not known.all():
        _, nearest = KDTree(positions[known]).query(positions[~known])
        values[~known] = values[known][nearest]
    return values
