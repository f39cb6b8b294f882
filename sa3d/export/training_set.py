"""Data sets for ``ns-train`` with masks that select the pixels to train on.

Nerfstudio trains on the white pixels of a mask and ignores the black ones. The photos stay where
they are: the new ``transforms.json`` names them by relative paths.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sa3d.base.errors import SA3DError
from sa3d.base.image_files import read_image
from sa3d.base.json_files import read_json
from sa3d.export.frames import Placement
from sa3d.export.masks import PhotoMasks, mask_names, only_png, photo_folder, write_bits
from sa3d.geometry.camera import Camera
from sa3d.results.config import Keep
from sa3d.scene.views import View

_REDUCTIONS = (2, 4, 8)
"""Scales of Nerfstudio's smaller copies of the photos: ``images_2`` and so on."""
_OLD_COLMAP_TURN = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0]]
"""Transform that Nerfstudio assumes if a ``transforms.json`` beside COLMAP's files names none."""


def write_training_set(
    masks: PhotoMasks,
    folder: Path,
    transforms: Mapping[str, Any],
    *,
    keep: Keep = "object",
    overwrite: bool = False,
) -> None:
    """Write ``transforms.json``, ``masks/``, and for every ``images_N`` a link and ``masks_N/``.

    All objects share one mask. If the data set has masks already, a pixel is trained on if both
    masks select it.

    Args:
        masks: the objects' masks.
        folder: of the new data set.
        transforms: from ``data_set_transforms`` or ``run_transforms``.
        keep: train on the objects, or on everything but the objects.
        overwrite: replace the folder if it exists.

    Raises:
        SA3DError: the folder exists and ``overwrite`` is False, or a file cannot be read.
    """
    index_of = {os.path.realpath(view.image_path): i for i, view in enumerate(masks.views)}
    names = mask_names(masks.views)
    reduced = _reduced_copies(masks.views)
    frames, home = [], folder.resolve()
    with photo_folder(masks, folder, overwrite=overwrite, may_delete=_is_ours) as temporary:
        for number, copies in list(reduced.items()):
            if not _linked(temporary / f"images_{number}", os.path.relpath(copies, home)):
                del reduced[number]
        for frame in transforms["frames"]:
            index = index_of.get(os.path.realpath(frame["file_path"]))
            if index is None:
                continue  # in no split of the data set, so not used in training
            mask = masks.together(index) ^ (keep == "rest")
            if "mask_path" in frame:
                mask &= _read_mask(Path(frame["mask_path"]), mask.shape)
            write_bits(temporary / "masks" / names[index], mask)
            for number, copies in reduced.items():
                size = _size(copies / masks.views[index].image_path.name)
                write_bits(temporary / f"masks_{number}" / names[index].name, _shrunk(mask, size))
            frames.append(frame | {"mask_path": (Path("masks") / names[index]).as_posix()})
        content = _paths_mapped(
            {**transforms, "frames": frames},
            lambda path: os.path.relpath(path, home) if Path(path).is_absolute() else path,
        )
        (temporary / "transforms.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def data_set_transforms(data: Path, views: Sequence[View]) -> dict[str, Any] | None:
    """Read the data set's own ``transforms.json``, with absolute paths.

    Returns:
        Its content; None if there is no such file, or it has another format or other views.
    """
    file = data if data.suffix == ".json" else data / "transforms.json"
    try:
        content = read_json(file)
        frames = content["frames"]
        listed = {os.path.realpath(file.parent / frame["file_path"]) for frame in frames}
        complete = all("fl_x" in content or "fl_x" in frame for frame in frames)
    except (SA3DError, LookupError, TypeError):
        return None
    if not complete or not {os.path.realpath(view.image_path) for view in views} <= listed:
        return None
    if (file.parent / "colmap/sparse/0").exists():
        content.setdefault("applied_transform", _OLD_COLMAP_TURN)
    return _paths_mapped(content, lambda path: str(Path.cwd() / file.parent / path))


def run_transforms(views: Sequence[View], placement: Placement) -> dict[str, Any]:
    """Make a ``transforms.json`` from the cameras of a run, after training, with its split.

    Args:
        views: of the run.
        placement: the original frame of the data set.
    """
    paths = [str(Path.cwd() / view.image_path) for view in views]
    trained = [p for p, view in zip(paths, views, strict=True) if view.camera.index >= 0]
    others = [p for p, view in zip(paths, views, strict=True) if view.camera.index < 0] or paths
    return {
        "camera_model": "OPENCV",
        "frames": [
            {"file_path": path, **_camera_entries(view.camera, placement)}
            for path, view in zip(paths, views, strict=True)
        ],
        "train_filenames": trained or paths,
        "val_filenames": others,
        "test_filenames": others,
    }


def _camera_entries(camera: Camera, placement: Placement) -> dict[str, Any]:
    c2w = np.eye(4)
    c2w[:3] = camera.c2w.double().cpu().numpy()
    moved = np.eye(4)
    moved[:3, :3] = placement.matrix[:3, :3] @ c2w[:3, :3] / placement.scale
    moved[:3, 3] = placement.points(c2w[None, :3, 3])[0]
    k1, k2, k3, k4, p1, p2 = camera.distortion or (0.0,) * 6
    return {
        "transform_matrix": moved.tolist(),
        **{"fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy},
        **{"w": camera.width, "h": camera.height},
        **{"k1": k1, "k2": k2, "k3": k3, "k4": k4, "p1": p1, "p2": p2},
    }


def _paths_mapped(content: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Return a ``transforms.json`` with a function applied to every path in it."""
    mapped = dict(content)
    for key in ("train_filenames", "val_filenames", "test_filenames"):
        if key in mapped:
            mapped[key] = [change(path) for path in mapped[key]]
    if "ply_file_path" in mapped:
        mapped["ply_file_path"] = change(mapped["ply_file_path"])
    paths = ("file_path", "mask_path", "depth_file_path")
    mapped["frames"] = [
        {key: change(value) if key in paths else value for key, value in frame.items()}
        for frame in mapped["frames"]
    ]
    return mapped


def _reduced_copies(views: Sequence[View]) -> dict[int, Path]:
    """Return the folders with all photos at 1/N of their size, by N; without subfolders."""
    folders = {view.image_path.parent for view in views}
    if len(folders) > 1:
        return {}
    [photos] = folders
    places = {number: photos.with_name(f"{photos.name}_{number}") for number in _REDUCTIONS}
    return {
        number: place
        for number, place in places.items()
        if all((place / view.image_path.name).is_file() for view in views)
    }


def _linked(link: Path, target: str) -> bool:
    try:
        link.symlink_to(target, target_is_directory=True)
    except OSError:
        return False  # no permission on Windows: Nerfstudio then uses the full size
    return True


def _read_mask(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    from PIL import Image

    mask = read_image(path, "the data set's mask", remedy="restore it").convert("L")
    same_size = mask.resize((shape[1], shape[0]), Image.Resampling.NEAREST)
    return np.asarray(same_size) > 0


def _size(path: Path) -> tuple[int, int]:
    return read_image(path, "the photo", remedy="restore the file").size


def _shrunk(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    small = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
    return np.asarray(small) >= 128


def _is_ours(entry: Path) -> bool:
    if entry.is_dir() and not entry.is_symlink():
        return entry.name.startswith("masks") and only_png(entry)
    return entry.name == "transforms.json" or entry.is_symlink()
