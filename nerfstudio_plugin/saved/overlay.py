"""Draws objects in color over photos; several views on one sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sa3d.base.storage import atomic_path
from sa3d.objects.colors import Color
from sa3d.objects.segmentation import Segmentation
from sa3d.results.final_masks import final_masks
from sa3d.scene.scene import Scene

_TILE_SIDE = 320


def overlay_sheet(
    scene: Scene, segmentation: Segmentation, path: Path, *, columns: int = 4, rows: int = 3
) -> None:
    """Write a contact sheet: all objects over ``columns * rows`` views, the prompted ones first.

    Raises:
        SA3DError: a photo is missing, or the sheet cannot be written.
    """
    from PIL import Image

    chosen = sheet_views(scene, segmentation, columns * rows)
    tiles = []
    for index in chosen:
        image = scene.views[index].image()
        for name, (mask, _) in final_masks(scene, segmentation, index).items():
            image = overlaid(image, mask, segmentation.colors[name])
        tile = Image.fromarray(image)
        tile.thumbnail((_TILE_SIDE, _TILE_SIDE))
        tiles.append(tile)
    width, height = max(t.width for t in tiles), max(t.height for t in tiles)
    columns = min(columns, len(tiles))
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), (255, 255, 255))
    for position, tile in enumerate(tiles):
        sheet.paste(tile, (position % columns * width, position // columns * height))
    with atomic_path(path) as temporary:
        sheet.save(temporary)


def sheet_views(scene: Scene, segmentation: Segmentation, count: int) -> list[int]:
    """Return up to ``count`` views: the prompted ones, then others evenly spaced."""
    prompted = [
        scene.view_index(prompt.view)
        for one in segmentation.objects.values()
        for prompt in one.prompts
    ]
    spaced = np.linspace(0, len(scene.views) - 1, min(count, len(scene.views))).round().astype(int)
    return list(dict.fromkeys([*prompted, *spaced.tolist()]))[:count]


def overlaid(image: np.ndarray, mask: np.ndarray, color: Color) -> np.ndarray:
    """Return an image, uint8 [H, W, 3], with a mask, bool [H, W], tinted and outlined in white."""
    tinted = image.astype(np.float32)
    tinted[mask] = 0.55 * tinted[mask] + 0.45 * np.asarray(color, dtype=np.float32)
    inner = mask.copy()
    for axis in (0, 1):
        for step in (1, -1):
            inner &= np.roll(mask, step, axis)
    tinted[mask & ~inner] = 255
    return tinted.round().astype(np.uint8)
