"""Small pictures for the panel: a photo with what is marked in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.saved.overlay import overlaid
from nerfstudio_plugin.viewer.marks import Mark
from nerfstudio_plugin.viewer.state import Desk, Preview
from sa3d.loop.prompt_preview import PromptPreview
from sa3d.objects.colors import Color
from sa3d.objects.events import ViewDone
from sa3d.scene.scene import Scene

SIDE = 300
"""Pixels along the longer side."""
_ROOM = 0.4
"""Room around what is marked, as a share of its size."""

_ON, _BESIDE, _BOX = (60, 220, 90), (250, 60, 60), (255, 255, 255)


def preview_sheet(
    image: np.ndarray,
    masks: Sequence[np.ndarray],
    color: Color,
    marks: Sequence[Mark],
) -> np.ndarray:
    """A photo [H, W, 3] around the marks, with the mask that is taken, masks[0], and small ones.

    The others, in their order from the left, are the candidates there are to choose from.
    """
    rows, columns = _around(masks, marks)
    near = [replace(mark, **_moved(mark, columns.start, rows.start)) for mark in marks]
    part = image[rows, columns]
    large = mask_picture(part, masks[0][rows, columns], color, near)
    if len(masks) == 1:
        return large
    height, width = large.shape[:2]
    step = width // (len(masks) - 1)
    small = [mask_picture(part, mask[rows, columns], color, side=step - 4) for mask in masks[1:]]
    sheet = np.full((height + 4 + small[0].shape[0], width, 3), 40, dtype=np.uint8)
    sheet[:height] = large
    for number, one in enumerate(small):
        left = number * step
        sheet[height + 4 :, left : left + one.shape[1]] = one
    return sheet


def _around(masks: Sequence[np.ndarray], marks: Sequence[Mark]) -> tuple[slice, slice]:
    """Rows and columns around all masks and marks, with some room."""
    ys, xs = np.nonzero(np.logical_or.reduce(masks))
    spots = [mark.xy_px for mark in marks if mark.xy_px is not None]
    for mark in marks:
        if mark.box_px is not None:
            spots += [mark.box_px[:2], mark.box_px[2:]]
    x = np.concatenate([xs, [spot[0] for spot in spots]])
    y = np.concatenate([ys, [spot[1] for spot in spots]])
    height, width = masks[0].shape
    room = _ROOM * max(np.ptp(x), np.ptp(y), 0.15 * max(height, width))
    bottom, right = min(height, round(y.max() + room) + 1), min(width, round(x.max() + room) + 1)
    return slice(max(0, round(y.min() - room)), bottom), slice(max(0, round(x.min() - room)), right)


def _moved(mark: Mark, left: int, top: int) -> dict[str, Any]:
    """Where a mark is in a picture that begins at a corner."""
    if mark.box_px is not None:
        x0, y0, x1, y1 = mark.box_px
        return {"box_px": (x0 - left, y0 - top, x1 - left, y1 - top)}
    assert mark.xy_px is not None
    return {"xy_px": (mark.xy_px[0] - left, mark.xy_px[1] - top)}


def mask_picture(
    image: np.ndarray,
    mask: np.ndarray | None,
    color: Color,
    marks: Sequence[Mark] = (),
    side: int = SIDE,
) -> np.ndarray:
    """A photo [H, W, 3] with a mask [H, W] in color and marks on it, as a small picture."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(image if mask is None else overlaid(image, mask, color))
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    for mark in marks:
        if mark.box_px is not None:
            draw.rectangle([value * scale for value in mark.box_px], outline=_BOX, width=2)
        if mark.xy_px is not None:
            x, y = ((value + 0.5) * scale for value in mark.xy_px)
            fill = _ON if mark.label else _BESIDE
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=fill, outline=_BOX)
    return np.asarray(picture)


def preview_of(scene: Scene, seen: PromptPreview, desk: Desk, color: Color) -> Preview:
    """What the marks on the desk select in a photo, and the choice there is."""
    view = scene.views[seen.view]
    here = [mark for mark in desk.marks if mark.view == seen.view]
    masks, scores = [seen.mask], [seen.score]
    if seen.candidates is not None:
        masks += list(seen.candidates.masks)
        scores += [float(score) for score in seen.candidates.scores]
    prepared = scene.prepared(seen.view)
    covered = (prepared.mask_to_rays(seen.mask) > 0.5).reshape(prepared.points_world.shape[:2])
    return Preview(
        view.name,
        preview_sheet(view.image(), masks, color, here),
        tuple(scores),
        prepared.points_world[covered].numpy(),
        seen.uncertain,
    )


def visited_picture(opened: OpenScene, event: ViewDone, color: Color) -> np.ndarray:
    """The photo of a view that was visited, with its mask if it gave one: uint8 [h, w, 3]."""
    index = opened.scene.view_index(event.view)
    record = opened.segmentation.object(event.object).views.get(index)
    mask = None if record is None else record.mask
    return mask_picture(opened.scene.views[index].image(), mask, color)
