"""Measure the meshes of a saved segmentation's objects: their surface and their colors.

Every object is exported, the file is loaded again and drawn in some of the scene's views by ray
casting. PSNR (dB) and mask IoU compare that with the NeRF's own image of the object, over pixels
that show it in both; `volume` and `chamfer` (mean distance both ways, in % of the diagonal) compare
with true meshes, if there are any. Seconds and peak memory include opening the scene once.

    python scripts/benchmarks/meshes.py --segmentation outputs/demo/room/segmentation \\
        --truth nerfstudio_plugin/demo_scenes/room/meshes --output outputs/meshes
"""

from __future__ import annotations

import json
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
import tyro
from PIL import Image
from trimesh.ray.ray_pyembree import RayMeshIntersector

from nerfstudio_plugin.cli.options import SavedOptions
from nerfstudio_plugin.saved.segmentation_folder import ExportSource
from sa3d.export.config import Frame, MeshConfig
from sa3d.export.frames import Placement
from sa3d.export.mesh import export_mesh
from sa3d.export.mesh_cleanup import mesh_report
from sa3d.geometry.camera import Camera
from sa3d.results.rendering import ObjectRenderer

_SAMPLES = 20_000
_COLUMNS = ("faces", "watertight", "volume", "chamfer %", "PSNR", "IoU", "MB", "s", "peak GB")


@dataclass(kw_only=True)
class Options(SavedOptions):
    """Command-line options."""

    output: Path
    """Folder for meshes, images and numbers.json."""
    truth: Path | None = None
    """Folder with a true mesh, <object>.ply, of every object, in the frame."""
    frame: Frame = "original"
    """Frame of the meshes."""
    format: str = "glb"
    """Suffix of the meshes."""
    views: int = 6
    """Number of views that are compared, spread over all."""
    side: int = 256
    """Largest longer side of the images."""
    mesh: MeshConfig = field(default_factory=MeshConfig)


def drawn(mesh: trimesh.Trimesh, camera: Camera, placement: Placement) -> np.ndarray:
    """Draw the mesh as the camera (world frame) sees it, unshaded: uint8 [H, W, 4]."""
    rays = camera.image_rays()
    origins = placement.points(rays.origins.double().numpy())
    directions = placement.directions(rays.directions.double().numpy())
    caster = RayMeshIntersector(mesh)
    hits: Any = caster.intersects_id(
        origins, directions, multiple_hits=False, return_locations=True
    )
    face, ray, points = hits
    pixels = np.zeros((len(rays), 4), np.uint8)
    share = trimesh.triangles.points_to_barycentric(mesh.triangles[face], points)
    pixels[ray, :3] = _colors(mesh, mesh.faces[face], share)
    pixels[ray, 3] = 255
    return pixels.reshape(camera.height, camera.width, 4)


def _colors(mesh: trimesh.Trimesh, corners: np.ndarray, share: np.ndarray) -> np.ndarray:
    visual: Any = mesh.visual
    if visual.kind != "texture":
        shades = visual.vertex_colors[corners][..., :3].astype(float)
        return np.rint((shades * share[..., None]).sum(axis=1)).astype(np.uint8)
    from trimesh.visual.color import uv_to_interpolated_color

    uv = (visual.uv[corners] * share[..., None]).sum(axis=1)
    picture = getattr(visual.material, "baseColorTexture", None) or visual.material.image
    return uv_to_interpolated_color(uv, picture)[:, :3]


def compared(mesh: np.ndarray, nerf: np.ndarray) -> tuple[float, float]:
    """Return the squared error of the colors, in [0, 1], and the IoU of two RGBA images."""
    a, b = mesh[..., 3] > 127, nerf[..., 3] > 127
    both = a & b
    difference = mesh[both][:, :3].astype(float) - nerf[both][:, :3]
    error = float((difference**2).mean() / 255**2) if both.any() else 1.0
    return error, float(both.sum() / max((a | b).sum(), 1))


def against_truth(mesh: trimesh.Trimesh, path: Path) -> dict[str, float]:
    """Return the relative volume error, and the chamfer distance in % of the true diagonal."""
    from scipy.spatial import KDTree

    true: Any = trimesh.load_mesh(path)
    samples, true_samples = (
        trimesh.sample.sample_surface(m, _SAMPLES, seed=0)[0] for m in (mesh, true)
    )
    outward = KDTree(true_samples).query(samples)[0].mean()
    inward = KDTree(samples).query(true_samples)[0].mean()
    return {
        "volume_error": float(mesh.volume / true.volume - 1),
        "chamfer_percent": float(100 * (outward + inward) / 2 / true.scale),
    }


def measured(
    opened: ExportSource, name: str, options: Options
) -> tuple[dict[str, Any], np.ndarray]:
    """Return an object's row, and its images: the NeRF's above the mesh's."""
    placement = opened.placement(options.frame)
    path = options.output / f"{name}.{options.format}"
    started = time.perf_counter()
    mesh = export_mesh(
        opened.scene, opened.segmentation, name, path,
        placement=placement, config=options.mesh, overwrite=True,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    report = mesh_report(mesh.vertices, mesh.faces)
    loaded: Any = trimesh.load_mesh(path)
    renderer = ObjectRenderer(opened.scene, opened.segmentation, name)
    errors, overlaps, columns = [], [], []
    steps = np.linspace(0, len(opened.scene.views), options.views, endpoint=False)
    for index in steps.astype(int):
        camera = opened.scene.views[index].camera.fitted(options.side)
        image, nerf = drawn(loaded, camera, placement), renderer.from_camera(camera, "object")
        error, overlap = compared(image, nerf)
        errors.append(error)
        overlaps.append(overlap)
        columns.append(np.concatenate([_over_grey(nerf), _over_grey(image)]))
    row = {
        "object": name,
        "faces": report.faces,
        "watertight": report.watertight,
        "euler": report.euler,
        "psnr": float(-10 * np.log10(max(np.mean(errors), 1e-10))),
        "iou": float(np.mean(overlaps)),
        "bytes": sum(p.stat().st_size for p in options.output.glob(f"{name}.*")),
        "seconds": seconds,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    if options.truth is not None:
        row |= against_truth(loaded, options.truth / f"{name}.ply")
    return row, np.concatenate(columns, axis=1)


def _over_grey(pixels: np.ndarray) -> np.ndarray:
    alpha = pixels[..., 3:] / 255
    return np.rint(pixels[..., :3] * alpha + 128 * (1 - alpha)).astype(np.uint8)


def main(options: Options) -> None:
    """Print the table; write meshes, images and numbers."""
    torch.manual_seed(0)
    opened = options.reopen().export_source
    options.output.mkdir(parents=True, exist_ok=True)
    print(f"| object | {' | '.join(_COLUMNS)} |\n|{'---|' * (len(_COLUMNS) + 1)}")
    rows = []
    for name in options.chosen(opened.segmentation):
        row, picture = measured(opened, name, options)
        Image.fromarray(picture).save(options.output / f"{name}_views.png")
        rows.append(row)
        volume, chamfer = row.get("volume_error"), row.get("chamfer_percent")
        print(
            f"| {name} | {row['faces']} | {'yes' if row['watertight'] else 'no'} | "
            f"{'' if volume is None else f'{volume:+.1%}'} | "
            f"{'' if chamfer is None else f'{chamfer:.2f}'} | "
            f"{row['psnr']:.1f} | {row['iou']:.3f} | {row['bytes'] / 1e6:.2f} | "
            f"{row['seconds']:.1f} | {row['peak_gb']:.2f} |",
            flush=True,
        )
    (options.output / "numbers.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
