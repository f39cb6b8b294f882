"""A segmenter with known answers and errors on purpose, for upper bounds and tests."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sa3d.segmenters.graphcut.masks import logits_from_mask, logits_to_image
from sa3d.segmenters.prompt_check import CheckedPrompt, checked_image
from sa3d.segmenters.protocol import MaskPrediction

NESTING_SHARE = 0.02
"""The smaller and the larger candidate differ by this share of the mask's size."""
MISSING_SHARE = 0.4
"""Share of an object that is missing in an image with the error ``missing``."""


@dataclass(frozen=True)
class OracleErrors:
    """Errors of the oracle, drawn at random for each image and object.

    Attributes:
        empty: share of images with an empty mask.
        wrong: share of images with the mask of the nearest other object instead.
        missing: share of images in which 40% of the object are cut off, along a straight line.
        neighbour: share of images in which the nearest other object is added.
        leak: share of images in which a disc at the border of the object is added.
        dilate: growth of masks as a share of their size (sqrt of the area); negative erodes.
        dilated: share of images with masks that grow by ``dilate``.
        honest: predict the IoU with the exact mask; otherwise predict as if there were no error.
        seed: of the random draws.
    """

    empty: float = 0.0
    wrong: float = 0.0
    missing: float = 0.0
    neighbour: float = 0.0
    leak: float = 0.0
    dilate: float = 0.0
    dilated: float = 1.0
    honest: bool = False
    seed: int = 0


class OracleSegmenter:
    """A segmenter that returns the known object that fits a prompt best.

    The score of an object is the sum of: 1 for each positive point in the object and -1 for each
    positive point beside it, -1 for each negative point in the object, the IoU of the box with the
    object's bounding box, and the IoU of the mask with the object. The object with the highest
    score is returned, or empty masks if no score is positive.

    Args:
        images: [H, W, 3] uint8 each, by name.
        masks: by name of the image, the objects' masks [H, W] bool by label.
        errors: errors on purpose; none by default.
    """

    def __init__(
        self,
        images: Mapping[str, np.ndarray],
        masks: Mapping[str, Mapping[str, np.ndarray]],
        errors: OracleErrors | None = None,
    ) -> None:
        self._known = {_key(images[name]): dict(masks[name]) for name in images}
        self._errors = errors or OracleErrors()
        self._image: np.ndarray | None = None

    @property
    def name(self) -> str:
        """Name of the segmenter; the same for all errors, since its state is only the image."""
        return "oracle"

    def set_image(self, image: np.ndarray) -> None:
        """Look up an image.

        Raises:
            KeyError: the image is not one of the known images.
        """
        image = checked_image(image)
        if _key(image) not in self._known:
            raise KeyError("the oracle does not know this image")
        self._image = image.copy()

    def save_state(self) -> Mapping[str, np.ndarray]:
        """Return the image."""
        return {"image": self._current()[0].copy()}

    def restore_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Make a saved image the current one again."""
        self.set_image(np.asarray(state["image"]))

    def predict(
        self,
        point_coords: np.ndarray | None = None,
        point_labels: np.ndarray | None = None,
        box: np.ndarray | None = None,
        mask_logits: np.ndarray | None = None,
        *,
        multimask_output: bool = False,
    ) -> MaskPrediction:
        """Return the object that fits best; see ``PromptableSegmenter``."""
        image, objects = self._current()
        prompt = CheckedPrompt.of(point_coords, point_labels, box, mask_logits)
        votes = {label: _votes(mask, prompt) for label, mask in objects.items()}
        winner = max(votes, key=lambda label: votes[label], default=None)
        truth = found = np.zeros(image.shape[:2], bool)
        if winner is not None and votes[winner] > 0:
            truth = objects[winner].astype(bool)
            found = self._with_errors(truth, winner)
        masks = [found]
        if multimask_output:
            masks = [_grown(found, -NESTING_SHARE), found, _grown(found, NESTING_SHARE)]
        compared = truth if self._errors.honest else found
        scores = [_iou(mask, compared) if found.any() else 0.0 for mask in masks]
        return MaskPrediction(
            np.stack(masks),
            np.array(scores, np.float32),
            np.stack([logits_from_mask(mask) for mask in masks]),
        )

    def _current(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        if self._image is None:
            raise RuntimeError("no image: call set_image or restore_state first")
        return self._image, self._known[_key(self._image)]

    def _with_errors(self, mask: np.ndarray, label: str) -> np.ndarray:
        """Apply the errors of this image and object to a mask; the same at every call."""
        errors, (image, objects) = self._errors, self._current()
        digest = hashlib.sha256(f"{errors.seed}:{label}:{_key(image)}".encode()).digest()
        random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        empty, leak, at, wrong, missing, neighbour, dilated = random.random(7)
        beside = _nearest(mask, [other for name, other in objects.items() if name != label])
        if empty < errors.empty or not mask.any():
            return np.zeros_like(mask)
        if wrong < errors.wrong:
            return beside
        if missing < errors.missing:
            mask = mask & ~_beyond_line(mask, 2 * math.pi * at)
        if neighbour < errors.neighbour:
            mask = mask | beside
        if dilated < errors.dilated:
            mask = _grown(mask, errors.dilate)
        if leak < errors.leak and mask.any():
            mask = mask | _disc_at_border(mask, at)
        return mask


def _key(image: np.ndarray) -> str:
    return hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest()


def _votes(mask: np.ndarray, prompt: CheckedPrompt) -> float:
    """Return the score of an object for a prompt; see ``OracleSegmenter``."""
    votes = 0.0
    for points, wanted in ((prompt.positive, True), (prompt.negative, False)):
        for x, y in np.rint(points).astype(int):
            inside = 0 <= x < mask.shape[1] and 0 <= y < mask.shape[0] and bool(mask[y, x])
            # A negative point beside the object does not add to its score.
            votes += (1.0 if inside else -1.0) if wanted else (-1.0 if inside else 0.0)
    if prompt.box is not None:
        boxed = np.zeros(mask.shape, bool)
        x0, y0, x1, y1 = np.rint(np.maximum(prompt.box, 0)).astype(int)
        boxed[y0 : y1 + 1, x0 : x1 + 1] = True
        votes += _iou(_bounding_box(mask), boxed)
    if prompt.mask_logits is not None:
        votes += _iou(mask, logits_to_image(prompt.mask_logits, mask.shape) > 0)
    return votes


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(int((a | b).sum()), 1))


def _bounding_box(mask: np.ndarray) -> np.ndarray:
    """Return the filled bounding box of a mask, [H, W] bool."""
    boxed = np.zeros(mask.shape, bool)
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if len(columns):
        boxed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return boxed


def _grown(mask: np.ndarray, share: float) -> np.ndarray:
    """Dilate a mask (erode if ``share`` < 0) by a share of its size, at least by one pixel."""
    import cv2

    if share == 0 or not mask.any():
        return mask
    side = 2 * max(1, round(abs(share) * float(np.sqrt(mask.sum())))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    change = cv2.dilate if share > 0 else cv2.erode
    return change(mask.astype(np.uint8), kernel).astype(bool)


def _nearest(mask: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mask of ``others`` that is nearest to a mask; an empty mask if there is none."""
    from scipy.ndimage import distance_transform_edt

    seen = [other.astype(bool) for other in others if other.any()]
    if not seen or not mask.any():
        return np.zeros(mask.shape, bool)
    away = np.asarray(distance_transform_edt(~mask))
    return min(seen, key=lambda other: float(away[other].min()))


def _beyond_line(mask: np.ndarray, angle: float) -> np.ndarray:
    """Return the ``MISSING_SHARE`` of a mask that is farthest in the direction of an angle."""
    rows, columns = np.indices(mask.shape)
    along = rows * math.sin(angle) + columns * math.cos(angle)
    return mask & (along > np.quantile(along[mask], 1 - MISSING_SHARE))


def _disc_at_border(mask: np.ndarray, at: float) -> np.ndarray:
    """Return a disc at the border of a mask; ``at`` in [0, 1) selects the place."""
    edge = np.argwhere(mask & ~_grown(mask, -NESTING_SHARE))
    y, x = edge[int(at * len(edge))]
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    radius = 0.25 * float(np.sqrt(mask.sum()))
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
