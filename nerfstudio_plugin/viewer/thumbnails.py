"""Thumbnails for the panel: a photo with a mask and marks in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.saved.overlay import overlaid
from nerfstudio_plugin.viewer.marks import Mark
from sa3d.loop.prompt_preview import PromptPreview
from sa3d.objects.colors import Color
from sa3d.objects.events import ViewDone
from sa3d.scene.scene import Scene

SIDE = 300
"""Pixels along the longer side."""
_MARGIN = 0.4
"""Margin around masks and marks, as a share of their size."""
_GAP_PX = 4
"""Between the large image and the small ones below it."""

_ON_OBJECT, _BESIDE, _BOX = (60, 220, 90), (250, 60, 60), (255, 255, 255)


@dataclass(frozen=True)
class Preview:
    """The mask that the marks select in the photo marked last.

    Attributes:
        view: the photo's name.
        image: uint8 [h, w, 3], the chosen mask, and the segmenter's candidates below it.
        scores: predicted IoU of the chosen mask, and of the candidates.
        points_world: [N, 3], the surface that the chosen mask covers.
        uncertain: whether the mask is so large that the other views decide if it is accepted.
    """

    view: str
    image: np.ndarray
    scores: tuple[float, ...]
    points_world: np.ndarray
    uncertain: bool


def preview_image(
    image: np.ndarray,
    masks: Sequence[np.ndarray],
    color: Color,
    marks: Sequence[Mark],
) -> np.ndarray:
    """Draw masks and marks on the part of a photo around them.

    Args:
        image: uint8 [H, W, 3], the photo.
        masks: the chosen mask bool [H, W], which is shown large, and the candidates, which are
            shown small below it, from left to right.

    Returns:
        uint8 [h, w, 3], ``SIDE`` pixels along the longer side without the candidates.
    """
    rows, columns = _region(masks, marks)
    shifted = [_shifted(mark, columns.start, rows.start) for mark in marks]
    part = image[rows, columns]
    large = thumbnail(part, masks[0][rows, columns], color, shifted)
    if len(masks) == 1:
        return large
    height, width = large.shape[:2]
    step = width // (len(masks) - 1)
    small = [thumbnail(part, mask[rows, columns], color, side=step - _GAP_PX) for mask in masks[1:]]
    sheet = np.full((height + _GAP_PX + small[0].shape[0], width, 3), 40, dtype=np.uint8)
    sheet[:height] = large
    for number, one in enumerate(small):
        left = number * step
        sheet[height + _GAP_PX :, left : left + one.shape[1]] = one
    return sheet


def _region(masks: Sequence[np.ndarray], marks: Sequence[Mark]) -> tuple[slice, slice]:
    """Return rows and columns around all masks and marks, with a margin."""
    ys, xs = np.nonzero(np.logical_or.reduce(masks))
    points = [mark.xy_px for mark in marks if mark.xy_px is not None]
    for mark in marks:
        if mark.box_px is not None:
            points += [mark.box_px[:2], mark.box_px[2:]]
    x = np.concatenate([xs, [point[0] for point in points]])
    y = np.concatenate([ys, [point[1] for point in points]])
    height, width = masks[0].shape
    margin = _MARGIN * max(np.ptp(x), np.ptp(y), 0.15 * max(height, width))
    top, left = max(0, round(y.min() - margin)), max(0, round(x.min() - margin))
    bottom = min(height, round(y.max() + margin) + 1)
    right = min(width, round(x.max() + margin) + 1)
    return slice(top, bottom), slice(left, right)


def _shifted(mark: Mark, left: int, top: int) -> Mark:
    """Return a mark in the pixels of the part of its photo that begins at a corner."""
    if mark.box_px is not None:
        x0, y0, x1, y1 = mark.box_px
        return replace(mark, box_px=(x0 - left, y0 - top, x1 - left, y1 - top))
    assert mark.xy_px is not None
    return replace(mark, xy_px=(mark.xy_px[0] - left, mark.xy_px[1] - top))


def thumbnail(
    image: np.ndarray,
    mask: np.ndarray | None,
    color: Color,
    marks: Sequence[Mark] = (),
    side: int = SIDE,
) -> np.ndarray:
    """Scale a photo uint8 [H, W, 3] down, with a mask bool [H, W] in color and marks on it.

    Returns:
        uint8 [h, w, 3], ``side`` pixels along the longer side.
    """
    from PIL import Image, ImageDraw

    drawn = Image.fromarray(image if mask is None else overlaid(image, mask, color))
    scale = side / max(drawn.size)
    size = (max(1, round(drawn.width * scale)), max(1, round(drawn.height * scale)))
    drawn = drawn.resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(drawn)
    for mark in marks:
        if mark.box_px is not None:
            draw.rectangle([value * scale for value in mark.box_px], outline=_BOX, width=2)
        if mark.xy_px is not None:
            x, y = ((value + 0.5) * scale for value in mark.xy_px)
            fill = _ON_OBJECT if mark.label else _BESIDE
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=fill, outline=_BOX)
    return np.asarray(drawn)


def marks_preview(
    scene: Scene, found: PromptPreview, marks: Sequence[Mark], color: Color
) -> Preview:
    """Draw what marks select in the photo marked last, and the candidates there are."""
    view = scene.views[found.view]
    here = [mark for mark in marks if mark.view == found.view]
    masks, scores = [found.mask], [found.score]
    if found.candidates is not None:
        masks += list(found.candidates.masks)
        scores += [float(score) for score in found.candidates.scores]
    prepared = scene.prepared(found.view)
    covered = (prepared.mask_to_rays(found.mask) > 0.5).reshape(prepared.points_world.shape[:2])
    return Preview(
        view.name,
        preview_image(view.image(), masks, color, here),
        tuple(scores),
        prepared.points_world[covered].numpy(),
        found.uncertain,
    )


def visited_thumbnail(opened: OpenScene, event: ViewDone, color: Color) -> np.ndarray:
    """Draw the photo of a visited view, with its mask if it has one: uint8 [h, w, 3]."""
    index = opened.scene.view_index(event.view)
    record = opened.segmentation.object(event.object).views.get(index)
    mask = None if record is None else record.mask
    return thumbnail(opened.scene.views[index].image(), mask, color)
