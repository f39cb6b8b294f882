"""Masks as COCO JSON: images, one category per object, run-length encoded annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sa3d.base.storage import atomic_path, refuse_existing
from sa3d.export.masks import PhotoMasks


def write_coco(masks: PhotoMasks, path: Path, *, overwrite: bool = False) -> int:
    """Write all objects' masks in all views as one COCO JSON; ids count from 1.

    An image's ``file_name`` is its path below the folder of all images. A view that does not show
    an object has no annotation of it.

    Returns:
        The number of annotations.

    Raises:
        SA3DError: the file exists and may not be replaced, or cannot be written.
    """
    refuse_existing(path, overwrite)
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
