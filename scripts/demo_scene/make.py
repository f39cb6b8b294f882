"""Build the demo scenes: two still lifes, ray traced, with exact instance masks.

`room` is bounded (a table in a closed room), `garden` is unbounded (a table outdoors with a sky
far away). Both are procedural and seeded: the same photos every time.

    python -m scripts.demo_scene.make --variants room garden

writes, below `<output>/<variant>/`:

    transforms.json            cameras (OpenGL camera-to-world) in Nerfstudio's format
    images/NNN.jpg             photos
    masks_gt/<object>/NNN.png  visible part of each object, 0 or 255
    meshes/<object>.ply        the object in world coordinates
    objects.json               per object: color, default prompt, volume, centroid, visibility
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image

from . import VARIANTS, StillLife
from .tracer import Camera, RayTracer

WIDTH, HEIGHT = 320, 256
FOCAL = 330.0
PRINCIPAL_POINT = (163.2, 125.1)
VIEWS = 48
TURNS = 3.9
"""Turns of the camera around the table while it climbs."""
DEFAULT_OUTPUT = Path(__file__).parents[2] / "nerfstudio_plugin" / "demo_scenes"


@dataclass
class Options:
    """Command-line options."""

    variants: tuple[str, ...] = tuple(VARIANTS)
    """Scenes to build: room, garden."""
    output: Path = DEFAULT_OUTPUT
    """Folder that receives one folder per variant; older photos and masks there are deleted."""
    seed: int = 7
    """Seed of the camera path."""


def look_at(position: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return camera-to-world `[4, 4]` (OpenGL axes) at `position`, looking at `target`, z up."""
    backward = position - target
    backward /= np.linalg.norm(backward)
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(backward, right), backward, position], axis=1)
    return pose


def dome_cameras(seed: int) -> list[Camera]:
    """Return cameras on a wobbling upward spiral, 15 to 65 degrees above the table."""
    random = np.random.default_rng(seed)
    cameras = []
    for k in range(VIEWS):
        turn = 2.0 * np.pi * (TURNS * k / VIEWS + random.uniform(-0.015, 0.015))
        elevation = np.radians(np.clip(17 + 46 * k / (VIEWS - 1) + random.uniform(-5, 5), 15, 65))
        radius = random.uniform(1.98, 2.16)
        position = radius * np.array(
            [np.cos(turn) * np.cos(elevation), np.sin(turn) * np.cos(elevation), np.sin(elevation)]
        )
        target = np.array([0.0, 0.0, 0.10]) + random.uniform(-0.05, 0.05, size=3)
        pose = look_at(position, target)
        cameras.append(Camera(pose, FOCAL, FOCAL, *PRINCIPAL_POINT, WIDTH, HEIGHT))
    return cameras


def default_prompt(
    masks: NDArray[np.bool_], shares: NDArray[np.float64], name: str
) -> dict[str, object]:
    """Return a box and an inner point in the view that shows most of an object, unoccluded.

    `masks` is `[views, H, W]`, `shares` the visible share of the object in each view.
    """
    inner = masks[:, 2:-2, 2:-2].sum(axis=(1, 2)) == masks.sum(axis=(1, 2))
    view = int(np.argmax(masks.sum(axis=(1, 2)) * shares**4 * inner))
    ys, xs = np.nonzero(masks[view])
    depth = cv2.distanceTransform(masks[view].astype(np.uint8), cv2.DIST_L2, 5)
    y, x = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return {
        "view": f"images/{view:03d}.jpg",
        "box": [int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())],
        "points": [[int(x), int(y)]],
        "labels": [1],
        "text": name,
    }


def write_transforms(folder: Path, cameras: list[Camera]) -> None:
    """Write `transforms.json` in Nerfstudio's format."""
    first = cameras[0]
    content = {
        "camera_model": "OPENCV",
        "fl_x": first.fx,
        "fl_y": first.fy,
        "cx": first.cx,
        "cy": first.cy,
        "w": first.width,
        "h": first.height,
        "frames": [
            {"file_path": f"images/{k:03d}.jpg", "transform_matrix": camera.pose.tolist()}
            for k, camera in enumerate(cameras)
        ],
    }
    (folder / "transforms.json").write_text(json.dumps(content, indent=1) + "\n")


def write_objects(
    folder: Path,
    scene: StillLife,
    masks: dict[str, NDArray[np.bool_]],
    shares: dict[str, NDArray[np.float64]],
) -> None:
    """Write masks, meshes and `objects.json`."""
    records = []
    (folder / "meshes").mkdir()
    for body in scene.bodies:
        if not body.is_object:
            continue
        name = body.name
        (folder / "masks_gt" / name).mkdir(parents=True)
        for k, mask in enumerate(masks[name]):
            Image.fromarray(mask).save(folder / "masks_gt" / name / f"{k:03d}.png", optimize=True)
        body.mesh.export(folder / "meshes" / f"{name}.ply", vertex_normal=False)
        records.append(
            {
                "name": name,
                "color": list(scene.colors[name]),
                "prompt": default_prompt(masks[name], shares[name], name),
                "volume": float(body.mesh.volume),
                "centroid": body.mesh.center_mass.tolist(),
                "visible_share": [round(float(s), 4) for s in shares[name]],
            }
        )
    content = {
        "conventions": "prompts are integer pixels (x, y), box is XYXY, inclusive; volume and "
        "centroid in the world frame of transforms.json; visible_share is, per view, the part "
        "of the object's silhouette that nothing hides",
        "objects": records,
    }
    (folder / "objects.json").write_text(json.dumps(content, indent=1) + "\n")


def build(variant: str, output: Path, seed: int) -> None:
    """Render one variant and write all its files (an existing training run stays)."""
    folder = output / variant
    for part in ("images", "masks_gt", "meshes"):
        shutil.rmtree(folder / part, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    scene = VARIANTS[variant]()
    tracer = RayTracer(scene.bodies, scene.lights, scene.ambient)
    cameras = dome_cameras(seed)
    objects = {k: b.name for k, b in enumerate(scene.bodies) if b.is_object}
    masks = {name: np.zeros((VIEWS, HEIGHT, WIDTH), dtype=bool) for name in objects.values()}
    shares = {name: np.zeros(VIEWS) for name in objects.values()}
    for k, camera in enumerate(cameras):
        Image.fromarray(tracer.render(camera)).save(
            folder / "images" / f"{k:03d}.jpg", quality=95, subsampling="4:4:4"
        )
        instances = tracer.instances(camera)
        for index, name in objects.items():
            masks[name][k] = instances == index
            whole = tracer.silhouette(name, camera).sum()
            shares[name][k] = masks[name][k].sum() / max(int(whole), 1)
    write_transforms(folder, cameras)
    write_objects(folder, scene, masks, shares)
    print(f"{folder}: {VIEWS} views of {len(objects)} objects")


def main(options: Options) -> None:
    """Build the chosen variants."""
    for variant in options.variants:
        build(variant, options.output, options.seed)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
