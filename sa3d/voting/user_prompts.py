"""Masks from a user's prompts in one view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from sa3d.base.errors import SA3DError
from sa3d.objects.prompts import Prompt, check_marks_object
from sa3d.scene.views import View
from sa3d.segmenters.answer_check import ask
from sa3d.segmenters.protocol import MaskPrediction, PromptableSegmenter
from sa3d.voting.self_prompting import probability_to_logits

_LARGE = 0.1
"""A point farther than this from the mask, in units of the root of its area, adds a large part."""
_ROOM = 1.3
"""A missing part is assumed to reach this far around its point, in distances to the mask."""
_PLAUSIBLE = 0.8
"""If the mask shrinks to less than this share, the segmenter found something else."""
_DISCS = 8.0
"""Largest added area, in units of the disc around the point that reaches to the mask."""
MUCH_LARGER = 4.0
"""A mask from points that grew by more than this factor needs the other views' agreement."""


def segment_user_prompts(
    segmenter: PromptableSegmenter,
    view: View,
    prompts: Sequence[Prompt],
    before: np.ndarray | None = None,
    *,
    cautious: bool = False,
) -> tuple[np.ndarray, float]:
    """Segment a view by its prompts: return a mask [H, W] bool and its predicted IoU.

    If the last prompt is a mask, the masks are used as they are; points after a mask correct it.
    Points and the last box go to the segmenter, whose current image must be ``view``. A single
    point is ambiguous, so the best of three candidates is used.

    Args:
        segmenter: its current image is the view.
        view: the prompted view.
        prompts: all prompts in the view, the newest last.
        before: [H, W] in [0, 1], the mask shown so far. If the last prompt has points, they
            correct this mask; if the last prompt is a mask, it replaces this mask.
        cautious: accept no mask from points that is much larger than ``before``.

    Raises:
        SA3DError: a prompt lies outside the photo, or the segmenter finds nothing.
    """
    size = (view.camera.width, view.camera.height)
    for prompt in prompts:
        prompt.check_against(*size)
    masks = [mask for prompt in prompts if (mask := prompt.load_mask(*size)) is not None]
    if masks:
        drawn = np.logical_or.reduce(masks)
        if prompts[-1].mask is not None:
            return (drawn if before is None else masks[-1]), 1.0
        before = drawn.astype(np.float32) if before is None else before
    if (wrong := mask_to_correct(before, prompts[-1])) is not None:
        points, labels, _ = _arrays(prompts)
        prediction = _corrected(segmenter, wrong, points, labels, prompts[-1], cautious)
        wanted = None
    else:
        points, _, box = _arrays(prompts)
        wanted = prompts[-1].candidate
        ambiguous = box is None and len(points) == 1
        prediction = predict_from_prompts(
            segmenter, prompts, multimask_output=ambiguous or wanted is not None
        )
    best = int(prediction.scores.argmax()) if wanted is None else wanted
    if not prediction.masks[best].any():
        raise nothing_found_error(segmenter, view, prompts)
    return prediction.masks[best], float(prediction.scores[best])


def nothing_found_error(
    segmenter: PromptableSegmenter, view: View, prompts: Sequence[Prompt]
) -> SA3DError:
    """Return the error for prompts at which a segmenter finds nothing."""
    return SA3DError(
        f"{segmenter.name} finds nothing at the prompt for {prompts[0].object!r} in "
        f"{view.name!r}: add points on the object, or a box around it"
    )


def mask_to_correct(before: np.ndarray | None, last: Prompt) -> np.ndarray | None:
    """Return ``before`` if the last prompt corrects it; None if it asks for a new mask."""
    is_new = before is None or last.box is not None or not (before > 0.5).any()
    return None if is_new else before


def predict_from_prompts(
    segmenter: PromptableSegmenter, prompts: Sequence[Prompt], *, multimask_output: bool
) -> MaskPrediction:
    """Predict masks from the points and the last box of a view, the segmenter's current image.

    Raises:
        SA3DError: the prompts have neither a box nor a point on the object, or the segmenter's
            scores are not numbers.
    """
    check_marks_object(prompts)
    points, labels, box = _arrays(prompts)
    return ask(
        segmenter,
        points if len(points) else None,
        labels if len(points) else None,
        box,
        multimask_output=multimask_output,
    )


def _arrays(prompts: Sequence[Prompt]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return all points [P, 2], their labels [P], and the last box [4]."""
    points = np.array([p for prompt in prompts for p in prompt.points], dtype=np.float32)
    labels = np.array([label for prompt in prompts for label in prompt.labels], dtype=np.int64)
    boxes = [prompt.box for prompt in prompts if prompt.box is not None]
    return points, labels, np.array(boxes[-1], dtype=np.float32) if boxes else None


def _corrected(
    segmenter: PromptableSegmenter,
    before: np.ndarray,
    points: np.ndarray,
    labels: np.ndarray,
    last: Prompt,
    cautious: bool,
) -> MaskPrediction:
    """Correct a mask [H, W] by the points of ``last``; ``points`` [P, 2] are all points so far.

    A small error is best corrected from the mask itself. A point deep inside a large missing part
    is segmented with a box around the mask and the space around the point.
    """
    old = before > 0.5
    box, depth = _box_with_missing(old, last)
    if box is not None:
        prediction = ask(segmenter, points, labels, box)
        mask = prediction.masks[0]
        change = int(mask.sum()) / int(old.sum())
        added = int(corrected_parts(old, mask, [last]).sum())
        small = added <= _DISCS * np.pi * depth**2
        if small and _PLAUSIBLE <= change <= (MUCH_LARGER if cautious else np.inf):
            return prediction
    logits = probability_to_logits(torch.from_numpy(before))
    return ask(segmenter, points, labels, None, logits)


def _box_with_missing(mask: np.ndarray, last: Prompt) -> tuple[np.ndarray | None, float]:
    """Return the box [4] of a mask [H, W] bool and its missing part, and the depth of the part.

    The deepest point is assumed to lie in the middle of the missing part. If that part is small,
    there is no box.
    """
    from scipy.ndimage import distance_transform_edt

    away = np.asarray(distance_transform_edt(~mask))
    clicks = [point for point, label in last.labeled_points if label == 1]
    x, y = max(clicks, key=lambda p: away[int(p[1]), int(p[0])], default=(0.0, 0.0))
    depth = float(away[int(y), int(x)])
    if not clicks or depth <= _LARGE * np.sqrt(mask.sum()):
        return None, depth
    rows, columns = np.nonzero(mask)
    room = _ROOM * depth
    low = np.minimum([columns.min(), rows.min()], [x - room, y - room])
    high = np.maximum([columns.max(), rows.max()], [x + room, y + room])
    limit = np.array([mask.shape[1], mask.shape[0]]) - 1
    return np.concatenate([low.clip(0, limit), high.clip(0, limit)]).astype(np.float32), depth


def corrected_parts(before: np.ndarray, mask: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
    """Return where a correction of a view changes its mask, bool [H, W].

    Points change only the connected parts that they lie in; other changes of the segmenter do not
    count. A box or a mask changes the whole view.

    Args:
        before: [H, W] bool, the mask shown so far.
        mask: [H, W] bool, the segmenter's mask with the correction.
        prompts: all prompts in this view, the correction last.
    """
    changed = before != mask
    if prompts[-1].box is not None or prompts[-1].mask is not None:
        return changed
    return clicked_parts(changed, [point for prompt in prompts for point in prompt.points])


def clicked_parts(mask: np.ndarray, points: Sequence[tuple[float, float]]) -> np.ndarray:
    """Return the connected parts of a mask [H, W] bool that points (x, y) lie in, bool [H, W]."""
    from skimage.measure import label

    parts = np.asarray(label(mask, background=0, connectivity=2))
    clicked = {int(parts[int(y), int(x)]) for x, y in points}
    return np.isin(parts, list(clicked - {0}))


def has_drawn_mask(prompts: Iterable[Prompt]) -> bool:
    """Return whether any of a view's prompts is a mask."""
    return any(prompt.mask is not None for prompt in prompts)
