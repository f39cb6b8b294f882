"""Pictures of masks over a rendered scene: tints, contours, heat maps. Plain tensors, [H, W, C]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from sa3d.objects.colors import Color

_OPACITY = 0.6
_SOFTNESS = 5
"""Edges go from 0 to 1 while the probability rises by one over this."""
_LINE_PX = 2
_FINER = 2
"""Lines are drawn this much larger."""
_HEAT_OPACITY = 0.65
_HATCH_PX = 8
"""Distance between the stripes over what no view has spoken on."""


def decided(mask: Tensor, threshold: float = 0.5) -> Tensor:
    """Mask probabilities as object (1) or not (0), with soft edges around the threshold."""
    return ((mask - threshold) * _SOFTNESS + 0.5).clamp(0, 1)


def overlay(rgb: Tensor, masks: Tensor, colors: Sequence[Color], threshold: float) -> Tensor:
    """Colors [..., 3] with K masks [..., K] laid over, each in its color."""
    masks = decided(masks, threshold)
    opacity = _OPACITY * masks / masks.sum(dim=-1, keepdim=True).clamp_min(1)
    return rgb * (1 - opacity.sum(dim=-1, keepdim=True)) + opacity @ _palette(colors, rgb)


def outline(rgb: Tensor, masks: Tensor, colors: Sequence[Color], threshold: float) -> Tensor:
    """An image [H, W, 3] with the contours of K masks [H, W, K] as lines, two pixels wide."""
    picture = rgb.clone()
    for number, color in enumerate(_palette(colors, rgb)):
        inside = masks[..., number] > threshold
        if not inside.any():
            continue
        box = tuple(_padded_range(inside.any(dim=1 - axis)) for axis in (0, 1))
        line = _contour(masks[..., number][box], threshold)[..., None]
        picture[box] = picture[box] * (1 - line) + color * line
    return picture


def heat_map(rgb: Tensor, probability: Tensor, voted: Tensor) -> Tensor:
    """An image [H, W, 3] darkened to grey under the colors (viridis) of a probability [H, W].

    Args:
        voted: [H, W] in [0, 1], share of each pixel's light that any view has spoken on; where
            none has, grey stripes stand for "unknown".
    """
    import matplotlib

    grey = (rgb @ rgb.new_tensor([0.299, 0.587, 0.114]))[..., None]
    levels = torch.from_numpy(matplotlib.colormaps["viridis"](range(256))[:, :3]).to(rgb)
    heat = levels[(probability * 255).round().long().clamp(0, 255)]
    heat = grey * (1 - _HEAT_OPACITY) + heat * _HEAT_OPACITY
    rows, columns = (torch.arange(side, device=rgb.device) for side in probability.shape)
    stripe = ((rows[:, None] + columns) % _HATCH_PX < _HATCH_PX // 2)[..., None]
    unknown = (0.5 * grey + torch.where(stripe, 0.3, 0.1)).expand_as(rgb)
    return torch.where(voted[..., None] > 0.5, heat, unknown).clamp(0, 1)


def nearest(image: Tensor, height: int, width: int) -> Tensor:
    """An image [H, W, C] at another size, every pixel the nearest of the original's."""
    planes = image.permute(2, 0, 1)[None]
    return functional.interpolate(planes, (height, width), mode="nearest-exact")[0].permute(1, 2, 0)


def _contour(mask: Tensor, threshold: float) -> Tensor:
    """How much of each pixel the line covers where a mask [H, W] crosses the threshold, [H, W].

    Drawn at twice the size and averaged, so that the line has no steps.
    """
    size = [_FINER * side for side in mask.shape]
    fine = functional.interpolate(mask[None, None], size, mode="bilinear") > threshold
    reach = _FINER * _LINE_PX // 2
    both = torch.cat([fine, ~fine]).to(mask)
    grown = functional.max_pool2d(both, 2 * reach + 1, stride=1, padding=reach)
    line = (grown > 0).all(dim=0).to(mask)
    return functional.avg_pool2d(line[None], _FINER)[0, 0]


def _padded_range(used: Tensor) -> slice:
    """From the first to the last True of a bool [N], and as far beyond as a line may reach."""
    places = torch.nonzero(used)[:, 0]
    return slice(max(0, int(places[0]) - _LINE_PX), int(places[-1]) + 1 + _LINE_PX)


def _palette(colors: Sequence[Color], like: Tensor) -> Tensor:
    return torch.tensor(colors).reshape(-1, 3).to(like) / 255
