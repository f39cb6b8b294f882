"""Small pictures for the panel: a photo with what is marked in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nerfstudio_plugin.cli_pictures import overlaid
from nerfstudio_plugin.viewer.marks import Mark
from sa3d.object_colours import Colour

SIDE = 240
"""Pixels along the longer side."""

_ON, _BESIDE, _BOX = (60, 220, 90), (250, 60, 60), (255, 255, 255)


def mask_picture(
    image: np.ndarray, mask: np.ndarray | None, colour: Colour, marks: Sequence[Mark] = ()
) -> np.ndarray:
    """A photo [H, W, 3] with a mask [H, W] in colour and marks on it, as a small picture."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(image if mask is None else overlaid(image, mask, colour))
    scale = SIDE / max(picture.size)
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
