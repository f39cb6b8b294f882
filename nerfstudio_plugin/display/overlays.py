"""Masks drawn over a rendered image, as tints, contours or heat maps; images are [H, W, C]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from sa3d.objects.colors import Color

_OPACITY = 0.6
"""Of tints."""
_EDGE_SLOPE = 5
"""At an edge, opacity rises by this much per unit of probability."""
_LINE_PX = 2
_SUPERSAMPLING = 2
"""Lines are drawn on an image so many times larger."""
_HEAT_OPACITY = 0.65
_HATCH_PX = 8
"""Distance between the stripes where no view has voted."""


def decided(mask: Tensor, threshold: float = 0.5) -> Tensor:
    """Turn mask probabilities into object (1) or not (0), with soft edges at the threshold."""
    return ((mask - threshold) * _EDGE_SLOPE + 0.5).clamp(0, 1)


def overlay(rgb: Tensor, masks: Tensor, colors: Sequence[Color], threshold: float) -> Tensor:
    """Tint colors [..., 3] by K masks [..., K], each with its color."""
    masks = decided(masks, threshold)
    opacity = _OPACITY * masks / masks.sum(dim=-1, keepdim=True).clamp_min(1)
    return rgb * (1 - opacity.sum(dim=-1, keepdim=True)) + opacity @ _palette(colors, rgb)


def outline(rgb: Tensor, masks: Tensor, colors: Sequence[Color], threshold: float) -> Tensor:
    """Draw the contours of K masks [H, W, K] on an image [H, W, 3], as lines two pixels wide."""
    drawn = rgb.clone()
    for number, color in enumerate(_palette(colors, rgb)):
        inside = masks[..., number] > threshold
        if not inside.any():
            continue
        box = tuple(_padded_range(inside.any(dim=1 - axis)) for axis in (0, 1))
        line = _contour(masks[..., number][box], threshold)[..., None]
        drawn[box] = drawn[box] * (1 - line) + color * line
    return drawn


def heat_map(rgb: Tensor, probability: Tensor, voted: Tensor) -> Tensor:
    """Draw a probability [H, W] in viridis colors over an image [H, W, 3] in grey.

    Args:
        voted: [H, W] in [0, 1], share of each pixel's light from elements with votes; grey stripes
            stand for "unknown" where it is 0.5 or less.
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
    """Resize an image [H, W, C] with nearest-neighbour sampling."""
    planes = image.permute(2, 0, 1)[None]
    return functional.interpolate(planes, (height, width), mode="nearest-exact")[0].permute(1, 2, 0)


def _contour(mask: Tensor, threshold: float) -> Tensor:
    """Return the share of each pixel covered by the contour of a mask [H, W] at the threshold.

    It is drawn at twice the size and averaged, so that lines are not jagged.
    """
    size = [_SUPERSAMPLING * side for side in mask.shape]
    fine = functional.interpolate(mask[None, None], size, mode="bilinear") > threshold
    reach = _SUPERSAMPLING * _LINE_PX // 2
    both = torch.cat([fine, ~fine]).to(mask)
    grown = functional.max_pool2d(both, 2 * reach + 1, stride=1, padding=reach)
    line = (grown > 0).all(dim=0).to(mask)
    return functional.avg_pool2d(line[None], _SUPERSAMPLING)[0, 0]


def _padded_range(used: Tensor) -> slice:
    """Return the range from the first to the last True of a bool [N], padded by a line's width."""
    indices = torch.nonzero(used)[:, 0]
    return slice(max(0, int(indices[0]) - _LINE_PX), int(indices[-1]) + 1 + _LINE_PX)


def _palette(colors: Sequence[Color], like: Tensor) -> Tensor:
    return torch.tensor(colors).reshape(-1, 3).to(like) / 255
