"""Refined masks: final masks whose edges were moved to the edges in the photo.

In a narrow band along the border of a mask, a graph cut assigns each pixel to the object or the
background by color. A guided filter (He et al. 2010) then combines the mask and the cut: in each
window it fits them as a linear function of the photo's colors, so their steps move to the edges
in the photo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import Segmentation
from sa3d.results.config import RefinementConfig
from sa3d.results.final_masks import final_masks
from sa3d.scene.scene import Scene
from sa3d.segmenters.graphcut.cut import (
    BACKGROUND,
    MAYBE_BACKGROUND,
    MAYBE_OBJECT,
    OBJECT,
    grab_cut,
)
from sa3d.voting.user_prompts import clicked_parts, has_drawn_mask

_MARGIN = 6
"""Width of the surroundings from which background colors are learned, in filter radii."""
_CUT_SIDE_PX = 1024
"""Surroundings with a longer side are shrunk before the cut, to save time."""


def refined_masks(
    scene: Scene,
    segmentation: Segmentation,
    view_index: int,
    config: RefinementConfig | None,
) -> dict[str, np.ndarray]:
    """Return the refined masks of all objects in a view; no pixel is in two of them.

    The user's prompts in this view are kept: a mask that the user drew does not change, and an edge
    does not move across a point that the user set.

    Args:
        scene: prepared, of the segmentation.
        segmentation: with at least one object.
        view_index: position of the view in ``scene.views``.
        config: None returns the final masks unchanged.

    Returns:
        By object name, bool [H, W] at the size of the photo.

    Example:
        >>> mask = refined_masks(scene, segmentation, 0, RefinementConfig())["mug"]
    """
    masks = {n: mask for n, (mask, _) in final_masks(scene, segmentation, view_index).items()}
    if config is None:
        return masks
    view = scene.views[view_index]
    prompts = {name: one.prompts_in(view.name) for name, one in segmentation.objects.items()}
    return refine_masks(view.image(), masks, config, prompts)


def refine_masks(
    image: np.ndarray,
    masks: Mapping[str, np.ndarray],
    config: RefinementConfig,
    prompts: Mapping[str, Sequence[Prompt]] | None = None,
) -> dict[str, np.ndarray]:
    """Move the edges of exclusive masks to those of a photo; they stay exclusive.

    Args:
        image: [H, W, 3] uint8.
        masks: bool [H, W], by object name.
        config: settings.
        prompts: the user's prompts in this view, by object name. A drawn mask does not change. If
            an edge moved across a point, the connected part that changed there changes back.

    Returns:
        Bool [H, W], by object name.
    """
    prompts = prompts or {}
    shares = np.stack(
        [
            mask.astype(np.float32)
            if has_drawn_mask(prompts.get(name, ()))
            else _refined_share(image, mask, config)
            for name, mask in masks.items()
        ]
    )
    winner = shares.argmax(axis=0)
    refined = {
        name: (shares[position] > 0.5) & (winner == position) for position, name in enumerate(masks)
    }
    for name, given in prompts.items():
        if undone := _undone_clicks(masks[name], refined[name], given):
            back = clicked_parts(masks[name] != refined[name], undone)
            refined = {one: np.where(back, masks[one], refined[one]) for one in masks}
    return refined


def guided_filter(
    guide: np.ndarray, values: np.ndarray, radius_px: int, contrast: float
) -> np.ndarray:
    """Smooth values [h, w] without crossing the edges of a guide image; return float32 [h, w].

    Guided filter (He et al. 2010): in each window fit ``values = slope . color + offset`` by least
    squares, with ``contrast`` squared as the regularization of the slope. Each pixel is the mean of
    the fits of its windows.

    ``cv2.ximgproc`` has this filter, but only in opencv-contrib, which cannot be installed beside
    the OpenCV that Nerfstudio requires.

    Args:
        guide: [h, w, 3] float32 in [0, 1].
        values: [h, w].
        radius_px: windows are ``2 * radius_px + 1`` wide.
        contrast: color steps smaller than this do not count as edges.
    """
    mean, mean_value = _box_mean(guide, radius_px), _box_mean(values, radius_px)
    damped = _covariances(guide, mean, radius_px) + contrast**2 * np.eye(3, dtype=np.float32)
    joint = _box_mean(guide * values[..., None], radius_px) - mean * mean_value[..., None]
    slope = np.einsum("hwij,hwj->hwi", _inverses(damped), joint)
    offset = mean_value - (slope * mean).sum(-1)
    return (_box_mean(slope, radius_px) * guide).sum(-1) + _box_mean(offset, radius_px)


def _undone_clicks(
    mask: np.ndarray, refined: np.ndarray, prompts: Sequence[Prompt]
) -> list[tuple[float, float]]:
    """Return the points (x, y) that the mask [H, W] agrees with and the refined mask does not."""
    return [
        (x, y)
        for prompt in prompts
        for (x, y), label in prompt.labeled_points
        if mask[int(y), int(x)] == label != refined[int(y), int(x)]
    ]


def _refined_share(image: np.ndarray, mask: np.ndarray, config: RefinementConfig) -> np.ndarray:
    """Return the object share of each pixel, float32 [H, W]; 0 or 1 away from the border."""
    share = mask.astype(np.float32)
    if not mask.any() or mask.all():
        return share
    radius = config.radius_px(*mask.shape)
    window = _surroundings(mask, _MARGIN * radius)
    inside, colors = mask[window], image[window]
    to_border = _distance_to_border(inside)
    both = (share[window] + _cut(colors, inside, to_border <= 2 * radius)) / 2
    guide = colors.astype(np.float32) / 255
    filtered = guided_filter(guide, both, radius, config.contrast).clip(0, 1)
    share[window] = np.where(to_border <= 2 * radius + 1, filtered, share[window])
    return share


def _cut(colors: np.ndarray, mask: np.ndarray, doubtful: np.ndarray) -> np.ndarray:
    """Decide the doubtful pixels of a mask [h, w] by a graph cut; float32 [h, w] in [0, 1]."""
    import cv2

    trimap = np.where(mask, OBJECT, BACKGROUND)
    trimap = np.where(doubtful, np.where(mask, MAYBE_OBJECT, MAYBE_BACKGROUND), trimap)
    if not (trimap == OBJECT).any() or not (trimap == BACKGROUND).any():
        return mask.astype(np.float32)  # no pixels to learn colors from
    height, width = mask.shape
    shrink = min(1.0, _CUT_SIDE_PX / max(height, width))
    small = max(1, round(width * shrink)), max(1, round(height * shrink))
    labels = cv2.resize(trimap.astype(np.uint8), small, interpolation=cv2.INTER_NEAREST)
    shown = cv2.resize(colors, small, interpolation=cv2.INTER_AREA)
    cut, _ = grab_cut(shown, labels, iterations=1)
    return cv2.resize(cut.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)


def _distance_to_border(mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(mask)) + distance_transform_edt(~mask)


def _surroundings(mask: np.ndarray, margin_px: int) -> tuple[slice, slice]:
    """Return the rows and columns of a mask's box, widened by a margin; the mask is not empty."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return (
        slice(max(0, rows[0] - margin_px), rows[-1] + 1 + margin_px),
        slice(max(0, columns[0] - margin_px), columns[-1] + 1 + margin_px),
    )


def _box_mean(values: np.ndarray, radius_px: int) -> np.ndarray:
    """Return the mean over each pixel's window, [h, w] or [h, w, C]; mirrored at the border."""
    from scipy.ndimage import uniform_filter

    return uniform_filter(values, 2 * radius_px + 1, mode="reflect", axes=(0, 1))


def _covariances(guide: np.ndarray, mean: np.ndarray, radius_px: int) -> np.ndarray:
    """Return the covariance of the colors in each pixel's window, [h, w, 3, 3]."""
    products = (guide[..., :, None] * guide[..., None, :]).reshape(*guide.shape[:2], 9)
    means = (mean[..., :, None] * mean[..., None, :]).reshape(products.shape)
    return (_box_mean(products, radius_px) - means).reshape(*guide.shape, 3)


def _inverses(matrices: np.ndarray) -> np.ndarray:
    """Invert matrices [..., 3, 3] by cofactors, here a hundred times faster than numpy.linalg."""
    a, b, c = (matrices[..., row, :] for row in range(3))
    cofactors = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=-1)
    return cofactors / (a * cofactors[..., 0]).sum(-1)[..., None, None]
