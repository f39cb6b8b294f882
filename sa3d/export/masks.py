"""Masks of the photographs: one PNG per image and object, at the image's own size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from sa3d.errors import SA3DError
from sa3d.final_masks import final_mask
from sa3d.scene import Scene
from sa3d.segmentation import Segmentation
from sa3d.storage import atomic_folder
from sa3d.views import View


def export_masks(
    scene: Scene,
    segmentation: Segmentation,
    folder: Path,
    names: Sequence[str] | None = None,
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Write ``<folder>/<object>/<image>.png`` for every view: 255 object, 0 elsewhere.

    An object's folder appears whole or not at all. Images in subfolders keep them.

    Args:
        names: objects to export; all by default.

    Returns:
        The objects' folders.

    Raises:
        SA3DError: an object is unknown or empty, or its folder exists and may not be replaced.
    """
    chosen = list(segmentation.objects) if names is None else list(names)
    labels = segmentation.labels()
    for name in chosen:
        segmentation.object(name)
        if not (labels == list(segmentation.objects).index(name)).any():
            raise SA3DError(f"object {name!r} is empty: nothing to export; add prompts to it")
    files = mask_names(scene.views)
    for name in chosen:
        with atomic_folder(folder / name, overwrite=overwrite, ours=_only_png) as temporary:
            for index, file in enumerate(files):
                mask, _ = final_mask(scene, segmentation, name, index)
                _write(temporary / file, mask)
    return [folder / name for name in chosen]


def mask_names(views: Sequence[View]) -> list[PurePosixPath]:
    """Where each view's mask goes: the image's name with ``.png``, or added to it if that clashes.

    ``a/1.jpg`` becomes ``a/1.png``; beside an ``a/1.jpeg`` it becomes ``a/1.jpg.png``.
    """
    paths = [
        PurePosixPath(*(part for part in PurePosixPath(view.name).parts if part not in ("..", "/")))
        for view in views
    ]
    short = [path.with_suffix(".png") for path in paths]
    return [
        name if short.count(name) == 1 else path.with_name(path.name + ".png")
        for name, path in zip(short, paths, strict=True)
    ]


def _only_png(entry: Path) -> bool:
    if entry.is_dir():
        return all(_only_png(child) for child in entry.iterdir())
    return entry.suffix == ".png"


def _write(path: Path, mask: np.ndarray) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)
