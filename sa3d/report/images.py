"""Images of a report: prompts, masks and doubt over photos, as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import torch

from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import Segmentation
from sa3d.results.calibration import calibrated_probability
from sa3d.results.rendering import tinted
from sa3d.scene.scene import Scene
from sa3d.voting.mask_rendering import render_mask, render_share

_ON, _BESIDE, _BOX = (40, 200, 90), (235, 50, 60), (255, 210, 40)
HEAT = ((20, 11, 52), (132, 32, 107), (229, 92, 48), (246, 215, 70), (252, 255, 200))
"""Colors from no doubt to full doubt, also shown in the legend of the page."""
UNKNOWN = (70, 110, 190)
"""Color of places with almost no votes."""
_LITTLE = 1.0
"""Evidence, in fully lit pixels, at which a place is half known."""


def prompt_image(scene: Scene, view_index: int, prompts: Sequence[Prompt]) -> np.ndarray:
    """Draw the user's prompts over the photo of a view: uint8 [H, W, 3].

    Points on the object and masks are green, points beside it are red, boxes are yellow.
    """
    from PIL import Image, ImageDraw

    pixels = scene.views[view_index].image()
    height, width = pixels.shape[:2]
    for prompt in prompts:
        mask = prompt.load_mask(width, height)
        if mask is not None:
            pixels = tinted(pixels, mask, _ON)
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    line = max(2, round(max(height, width) / 240))
    for prompt in prompts:
        if prompt.box is not None:
            draw.rectangle(prompt.box, outline=_BOX, width=line)
        for (x, y), label in prompt.labeled_points:
            radius = 2.5 * line
            place = (x - radius, y - radius, x + radius, y + radius)
            color = _ON if label == 1 else _BESIDE
            draw.ellipse(place, fill=color, outline=(255, 255, 255), width=max(1, line // 2))
    return np.asarray(image)


def doubt_image(scene: Scene, segmentation: Segmentation, name: str, view_index: int) -> np.ndarray:
    """Draw doubt over the grey photo of a view: where the calibrated probability is near 0.5.

    Doubt is ``1 - |2 p - 1|``: 1 at a probability of 0.5, and 0 at 0 or 1. Doubtful places with
    almost no votes are blue.

    Returns:
        uint8 [H, W, 3].
    """
    prepared, photo = scene.prepared(view_index), scene.views[view_index]
    evidence, prior = segmentation.object(name).evidence, segmentation.prior
    rendered = render_share(prepared.operator, calibrated_probability(segmentation, name))
    votes = render_mask(prepared.operator, evidence, prior=prior, prior_weight=_LITTLE)
    small = torch.stack([rendered, votes.known]).cpu()
    size = (prepared.camera.height, prepared.camera.width)
    probability, known = torch.nn.functional.interpolate(
        small.reshape(1, 2, *size), (photo.camera.height, photo.camera.width), mode="bilinear"
    )[0].numpy()
    doubt = 1 - abs(2 * probability - 1)
    image = photo.image().mean(axis=2, keepdims=True) * 0.6 + 40
    unknown = (0.6 * doubt * (1 - known))[..., None]
    image = image * (1 - unknown) + np.array(UNKNOWN) * unknown
    steps = np.linspace(0, 1, len(HEAT))
    hot = np.stack([np.interp(doubt, steps, channel) for channel in np.array(HEAT).T], axis=-1)
    strength = np.clip(3 * doubt * known, 0, 1)[..., None]
    return np.rint(image * (1 - strength) + hot * strength).clip(0, 255).astype(np.uint8)


def jpeg_uri(pixels: np.ndarray, max_side: int) -> str:
    """Encode an image, uint8 [H, W, 3], as a JPEG ``data:`` URI with sides up to ``max_side``."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=82, optimize=True)
    return data_uri(stream.getvalue(), "image/jpeg")


def data_uri(content: bytes, mime: str) -> str:
    """Encode bytes as a ``data:`` URI."""
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"
