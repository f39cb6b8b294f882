"""Images, prompts and mask logits in the square input of SAM and its relatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

OUTSIDE_LOGIT = -10.0
"""Logit of the mask prompt in SAM 1's padding, which is surely not the object."""


@dataclass(frozen=True)
class Geometry:
    """The place of an image in the model's square input; sizes are (height, width) in pixels.

    Attributes:
        image: the original image.
        content: the resized image; smaller than ``model`` if the model pads it (SAM 1, SAM-HQ).
        model: the model's input.
    """

    image: tuple[int, int]
    content: tuple[int, int]
    model: tuple[int, int]

    def to_model(self, xy: np.ndarray) -> np.ndarray:
        """Map pixel indices [..., 2] of the image to those of the model's input.

        SAM itself adds the half pixel to the centres.
        """
        scale = np.array([self.content[1] / self.image[1], self.content[0] / self.image[0]])
        return (xy + 0.5) * scale - 0.5

    @property
    def filled(self) -> tuple[float, float]:
        """Share of the model's (height, width) that the image fills."""
        return self.content[0] / self.model[0], self.content[1] / self.model[1]


def resample(maps: Tensor, size: tuple[int, int], extent: tuple[float, float]) -> Tensor:
    """Resample maps bilinearly over a part of them, or beyond them.

    Args:
        maps: [K, 1, h, w].
        size: height and width of the result.
        extent: height and width of the sampled part as shares of the map, from its top left corner.
            With shares above 1, the part reaches beyond the map; there the result is OUTSIDE_LOGIT.

    Returns:
        [K, 1, *size]; ``maps`` itself if it would not change.
    """
    if maps.shape[-2:] == size and extent == (1.0, 1.0):
        return maps
    rows, columns = (
        (torch.arange(n, device=maps.device, dtype=torch.float32) + 0.5) / n * share
        for n, share in zip(size, extent, strict=True)
    )
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    grid = (2 * torch.stack([x, y], dim=-1) - 1).expand(len(maps), -1, -1, -1)
    sampled = functional.grid_sample(maps, grid, padding_mode="border", align_corners=False)
    return torch.where((x > 1) | (y > 1), torch.full_like(sampled, OUTSIDE_LOGIT), sampled)


def masks_in_image(low_res: Tensor, geometry: Geometry) -> Tensor:
    """Return masks [K, H, W] bool of the image from logits [K, 1, h, w] of the model's input."""
    # As in SAM's own post-processing: first resize to the model's input, then to the image.
    at_input = functional.interpolate(low_res, geometry.model, mode="bilinear", align_corners=False)
    content = at_input[..., : geometry.content[0], : geometry.content[1]]
    masks = functional.interpolate(content, geometry.image, mode="bilinear", align_corners=False)
    return masks[:, 0] > 0
