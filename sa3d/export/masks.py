"""Masks of the photos, each at the size of its photo, in the layouts other programs read.

Each ``write_...`` function writes one layout. The file or folder appears complete or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sa3d.base.errors import SA3DError
from sa3d.base.narrowing import narrowed
from sa3d.base.storage import atomic_folder, atomic_path, check_new_file
from sa3d.objects.names import check_names_apart
from sa3d.objects.segmentation import Segmentation
from sa3d.results.config import RefinementConfig
from sa3d.results.mask_refinement import refined_masks
from sa3d.scene.scene import Scene
from sa3d.scene.views import View


@dataclass(frozen=True)
class PhotoMasks:
    """The masks of chosen objects in every view of a scene.

    Attributes:
        scene: prepared, of the segmentation.
        segmentation: with the objects.
        names: of the objects.
        refinement: settings for moving edges to those of the photo; None moves no edges.

    Raises:
        SA3DError: an object is unknown or empty.

    Example:
        >>> masks = PhotoMasks(scene, segmentation, ("mug",), RefinementConfig())
        >>> write_masks(masks, Path("mug_masks"))
    """

    scene: Scene
    segmentation: Segmentation
    names: tuple[str, ...]
    refinement: RefinementConfig | None = None

    def __post_init__(self) -> None:
        """Check the objects.

        Raises:
            SA3DError: an object is unknown or empty.
        """
        labels = self.segmentation.labels()
        for name in self.names:
            self.segmentation.object(name)
            if not (labels == list(self.segmentation.objects).index(name)).any():
                raise SA3DError(f"object {name!r} is empty: nothing to export; add prompts to it")

    @property
    def views(self) -> Sequence[View]:
        """The views of the scene."""
        return self.scene.views

    def of_view(self, index: int) -> dict[str, np.ndarray]:
        """Return the objects' exclusive masks in one view, bool [H, W], by name."""
        found = refined_masks(self.scene, self.segmentation, index, self.refinement)
        return {name: found[name] for name in self.names}

    def together(self, index: int) -> np.ndarray:
        """Return the union of the objects' masks in one view, bool [H, W]."""
        return np.any(list(self.of_view(index).values()), axis=0)


def write_masks(masks: PhotoMasks, folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write ``<folder>/<object>/<view>.png`` for every view: 255 on the object, 0 elsewhere.

    Photos in subfolders get their masks in the same subfolders.

    Args:
        masks: the objects' masks.
        folder: gets a folder for each object.
        overwrite: replace folders that exist.

    Returns:
        The folder of each object.

    Raises:
        SA3DError: a folder exists and ``overwrite`` is False, or cannot be written.
    """
    with ExitStack() as stack:
        places = _object_folders(stack, masks, folder, overwrite)
        for index, file in enumerate(mask_names(masks.views)):
            for name, mask in masks.of_view(index).items():
                write_bits(places[name] / file, mask)
    return [folder / name for name in masks.names]


def write_cutouts(
    masks: PhotoMasks, folder: Path, *, crop: bool = False, overwrite: bool = False
) -> list[Path]:
    """Write ``<folder>/<object>/<view>.png`` for every view: the photo, opaque on the object.

    Args:
        masks: the objects' masks.
        folder: gets a folder for each object.
        crop: crop the images to the object's box; views that do not show it get no file.
        overwrite: replace folders that exist.

    Returns:
        The folder of each object.

    Raises:
        SA3DError: a folder exists and ``overwrite`` is False, or cannot be written.
    """
    with ExitStack() as stack:
        places = _object_folders(stack, masks, folder, overwrite)
        for index, file in enumerate(mask_names(masks.views)):
            image = masks.views[index].image()
            for name, mask in masks.of_view(index).items():
                cutout = np.dstack([image, mask.astype(np.uint8) * 255])
                if crop:
                    cutout = cutout[_box(mask)]
                if cutout.size:
                    write_png(places[name] / file, cutout)
    return [folder / name for name in masks.names]


def write_label_maps(masks: PhotoMasks, folder: Path, *, overwrite: bool = False) -> None:
    """Write ``<folder>/<view>.png`` for every view: 0 background, 1 the first object, and so on.

    The maps have 8 bits per pixel, or 16 for more than 255 objects; 65535 is the most.

    Raises:
        SA3DError: the folder exists and ``overwrite`` is False, or cannot be written.
    """
    kind = np.uint8 if len(masks.names) < 256 else np.uint16
    narrowed(np.array([len(masks.names)]), kind, "export fewer objects at once")
    with photo_folder(masks, folder, overwrite=overwrite) as temporary:
        for index, file in enumerate(mask_names(masks.views)):
            found = masks.of_view(index)
            stacked = np.stack([found[name] for name in masks.names])
            labels = np.where(stacked.any(axis=0), stacked.argmax(axis=0) + 1, 0)
            write_png(temporary / file, labels.astype(kind))


def write_colmap_masks(
    masks: PhotoMasks, folder: Path, *, invert: bool = False, overwrite: bool = False
) -> Path:
    """Write ``<folder>/masks/<photo's file name>.png`` for COLMAP's ``mask_path``.

    COLMAP finds no features where a mask is black. All objects share one mask.

    Args:
        masks: the objects' masks.
        folder: gets the folder ``masks``, and may contain other files.
        invert: make the objects black, instead of everything else.
        overwrite: replace the folder ``masks`` if it exists.

    Returns:
        ``<folder>/masks``.

    Raises:
        SA3DError: the folder exists and ``overwrite`` is False, or cannot be written.
    """
    place = folder / "masks"
    with photo_folder(masks, place, overwrite=overwrite) as temporary:
        for index, path in enumerate(image_paths(masks.views)):
            mask = masks.together(index) ^ invert
            write_bits(temporary / path.with_name(path.name + ".png"), mask)
    return place


def only_png(entry: Path) -> bool:
    """Return True if an entry of a folder is a PNG, or a folder of PNGs only."""
    if entry.is_dir():
        return all(only_png(child) for child in entry.iterdir())
    return entry.suffix == ".png"


def photo_folder(
    masks: PhotoMasks,
    folder: Path,
    *,
    overwrite: bool,
    may_delete: Callable[[Path], bool] = only_png,
) -> AbstractContextManager[Path]:
    """Open an ``atomic_folder`` that never replaces the folder of the photos.

    Raises:
        SA3DError: the folder has the photos of the scene; or see ``atomic_folder``.
    """
    place = folder.resolve()
    if any(place in view.image_path.resolve().parents for view in masks.views):
        raise SA3DError(f"{folder} is the folder of the photos: give another folder")
    return atomic_folder(folder, overwrite=overwrite, may_delete=may_delete)


def image_paths(views: Sequence[View]) -> list[PurePosixPath]:
    """Return the path of each photo below the folder of all photos, never outside of it."""
    return [
        PurePosixPath(*(part for part in PurePosixPath(view.name).parts if part not in ("..", "/")))
        for view in views
    ]


def mask_names(views: Sequence[View]) -> list[PurePosixPath]:
    """Return the path of each view's mask: the photo's path with the suffix ``.png``.

    ``a/1.jpg`` becomes ``a/1.png``; if there is also an ``a/1.jpeg``, it becomes ``a/1.jpg.png``.
    """
    paths = image_paths(views)
    short = [path.with_suffix(".png") for path in paths]
    return [
        name if short.count(name) == 1 else path.with_name(path.name + ".png")
        for name, path in zip(short, paths, strict=True)
    ]


def write_bits(path: Path, mask: np.ndarray) -> None:
    """Write a mask, bool [H, W], as a PNG: 255 where it is set, 0 elsewhere."""
    write_png(path, mask.astype(np.uint8) * 255)


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 [H, W] or [H, W, 4], or uint16 [H, W], as a PNG; make its folder."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _object_folders(
    stack: ExitStack, masks: PhotoMasks, folder: Path, overwrite: bool
) -> dict[str, Path]:
    check_names_apart(masks.names)
    return {
        name: stack.enter_context(photo_folder(masks, folder / name, overwrite=overwrite))
        for name in masks.names
    }


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return slice(0), slice(0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def write_coco(masks: PhotoMasks, path: Path, *, overwrite: bool = False) -> int:
    """Write the masks of all objects in all views as one COCO JSON.

    Each object is a category. Ids start at 1. The ``file_name`` of an image is the view's name. A
    view that does not show an object has no annotation for it.

    Returns:
        The number of annotations.

    Raises:
        SA3DError: the file exists and ``overwrite`` is False, or cannot be written.
    """
    check_new_file(path, overwrite)
    images, annotations = [], []
    for index, view in enumerate(masks.views):
        size = {"width": view.camera.width, "height": view.camera.height}
        images.append({"id": index + 1, "file_name": view.name, **size})
        for category, mask in enumerate(masks.of_view(index).values(), start=1):
            if mask.any():
                ids = {"id": len(annotations) + 1, "image_id": index + 1, "category_id": category}
                annotations.append(ids | _encoded(mask))
    colors = masks.segmentation.colors
    categories = [
        {"id": category, "name": name, "supercategory": "object", "color": colors[name]}
        for category, name in enumerate(masks.names, start=1)
    ]
    content = {
        "info": {"description": "masks of objects segmented in a NeRF, written by sa3d"},
        "licenses": [],
        "images": images,
        "categories": categories,
        "annotations": annotations,
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
    return len(annotations)


def _encoded(mask: np.ndarray) -> dict[str, Any]:
    from pycocotools import mask as coco_mask

    runs = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    counts = runs["counts"]
    assert isinstance(counts, bytes)
    return {
        "segmentation": {"size": list(runs["size"]), "counts": counts.decode("ascii")},
        "area": int(coco_mask.area(runs)),
        "bbox": coco_mask.toBbox(runs).tolist(),
        "iscrowd": 0,
    }
