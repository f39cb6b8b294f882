"""The embedded segmenter: graph cuts that take SAM's prompts and need no weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sa3d.segmenter import LOGITS_SIZE, MaskPrediction
from sa3d.segmenters import graphcut_trimaps as trimaps
from sa3d.segmenters.graphcut_clean import clean
from sa3d.segmenters.graphcut_clicks import discs, spread_clicks, stamp_clicks
from sa3d.segmenters.graphcut_cut import MAYBE_OBJECT, cut_again, grab_cut
from sa3d.segmenters.graphcut_logits import logits_from_mask, logits_to_image
from sa3d.segmenters.graphcut_regions import grow_regions
from sa3d.segmenters.graphcut_roi import Roi
from sa3d.segmenters.graphcut_scores import score
from sa3d.segmenters.graphcut_superpixels import Superpixels

ROI_SIDE_PX = 320
"""The cut's resolution: more costs quadratically and gained nothing on photos of 640 px."""

BOX_PAD, MASK_PAD = 0.33, 0.20
"""Margin around a box / an earlier mask that shows what background looks like."""

BOX_ZOOM, MASK_ZOOM = 1.5, 1.0
"""Largest enlargement of small objects."""

CLICK_SUPERPIXELS, IMAGE_SUPERPIXELS = 700, 900
IMAGE_SIDE_PX = 400
"""Superpixels in a region around a prompt, and in the whole image at this longest side."""

BOX_ITERATIONS, MASK_ITERATIONS = 5, 3
FREED_DISC, FREED_REACH = 0.22, 0.35
"""A click that contradicts the mask frees a disc, and spreads this far (shares of the size)."""


@dataclass(frozen=True)
class _Prompt:
    """A checked prompt in image pixels."""

    positive: np.ndarray
    negative: np.ndarray
    box: np.ndarray | None
    mask_logits: np.ndarray | None


class GraphCutSegmenter:
    """GrabCut with geodesic click spreading behind SAM's interface.

    Strong where a mask or a box with a few clicks is given, weak with a single click.
    """

    def __init__(self) -> None:
        self._image: np.ndarray | None = None
        self._image_superpixels: Superpixels | None = None
        self._appearance: np.ndarray | None = None

    @property
    def name(self) -> str:
        """Name of the method; it has no weights."""
        return "graphcut"

    def set_image(self, image: np.ndarray) -> None:
        """Take an image [H, W, 3] uint8 RGB. Costs nothing: work waits for a prompt."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ValueError(f"image must be [H, W, 3] uint8, got {image.shape} {image.dtype}")
        self._image = np.ascontiguousarray(image).copy()
        self._image_superpixels = None

    def save_state(self) -> Mapping[str, np.ndarray]:
        """The image itself."""
        return {"image": self._current_image().copy()}

    def restore_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Bring back an image."""
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
        """Segment the prompted object; see :class:`sa3d.segmenter.PromptableSegmenter`."""
        image = self._current_image()
        prompt = checked_prompt(point_coords, point_labels, box, mask_logits)
        hw = (image.shape[0], image.shape[1])
        if prompt.mask_logits is not None:
            soft = 1 / (1 + np.exp(-logits_to_image(prompt.mask_logits, hw)))
            if (soft > 0.5).any():
                return self._from_mask(prompt, soft, multimask_output)
        if prompt.box is not None:
            return self._from_box(prompt, prompt.box, multimask_output)
        if len(prompt.positive):
            return self._from_clicks(prompt, multimask_output)
        count = 3 if multimask_output else 1
        return _prediction([np.zeros(hw, bool)] * count, [0.0] * count)

    def _current_image(self) -> np.ndarray:
        if self._image is None:
            raise RuntimeError("no image: call set_image or restore_state first")
        return self._image

    def _from_mask(self, prompt: _Prompt, soft: np.ndarray, multimask: bool) -> MaskPrediction:
        """Refine an earlier mask, soft [H, W] in [0, 1]."""
        image = self._current_image()
        roi = Roi.around(
            _bounds_of(soft > 0.5, prompt),
            soft.shape,
            pad=MASK_PAD,
            max_side=ROI_SIDE_PX,
            max_zoom=MASK_ZOOM,
        )
        rgb, local = roi.crop(image), roi.crop(soft.astype(np.float32))
        positive, negative = roi.points(prompt.positive), roi.points(prompt.negative)
        wrong_positive = positive[~_mask_at(local, positive)]
        wrong_negative = negative[_mask_at(local, negative)]
        corrects = len(wrong_positive) + len(wrong_negative) > 0
        distance, size = trimaps.smoothed_distance(local)
        bands = [trimaps.CORRECTING if corrects else trimaps.NORMAL]
        if multimask:
            bands = [bands[0], trimaps.TIGHT, trimaps.LOOSE]
        superpixels = Superpixels.of(rgb, CLICK_SUPERPIXELS) if corrects else None
        cuts, models = [], None
        for band in bands:
            trimap = trimaps.mask_trimap(distance, size, band)
            if superpixels is not None:
                wrong = np.concatenate([wrong_positive, wrong_negative])
                trimap[discs(trimap.shape, wrong, FREED_DISC * size)] = MAYBE_OBJECT
                near = discs(trimap.shape, wrong, FREED_REACH * size)
                spread_clicks(trimap, superpixels, positive, negative, near)
            stamp_clicks(trimap, positive, negative)
            if models is None:
                mask, models = grab_cut(rgb, trimap, MASK_ITERATIONS, self._appearance)
            else:
                mask = cut_again(rgb, trimap, models)
            cuts.append(clean(mask, positive, negative))
        if multimask:
            cuts = [cuts[1], cuts[0], cuts[2]]
        return self._finish(roi, rgb, cuts, prompt)

    def _from_box(self, prompt: _Prompt, box: np.ndarray, multimask: bool) -> MaskPrediction:
        image = self._current_image()
        roi = Roi.around(box, image.shape[:2], pad=BOX_PAD, max_side=ROI_SIDE_PX, max_zoom=BOX_ZOOM)
        rgb = roi.crop(image)
        positive, negative = roi.points(prompt.positive), roi.points(prompt.negative)
        corners = roi.points(box.reshape(2, 2)).reshape(4)
        superpixels = (
            Superpixels.of(rgb, CLICK_SUPERPIXELS) if len(positive) + len(negative) else None
        )
        cuts = []
        for start in trimaps.BOX_STARTS[: 3 if multimask else 1]:
            trimap = trimaps.box_trimap((roi.height, roi.width), corners, start)
            if superpixels is not None:
                spread_clicks(trimap, superpixels, positive, negative)
                stamp_clicks(trimap, positive, negative)
            mask, _ = grab_cut(rgb, trimap, BOX_ITERATIONS, self._appearance)
            cuts.append(clean(mask, positive, negative))
        return self._finish(roi, rgb, cuts, prompt)

    def _from_clicks(self, prompt: _Prompt, multimask: bool) -> MaskPrediction:
        """Grow regions over the whole image, refine each, keep the best."""
        image = self._current_image()
        whole = Roi(
            0,
            0,
            image.shape[1],
            image.shape[0],
            *_fitted(image.shape[1], image.shape[0], IMAGE_SIDE_PX),
        )
        rgb = whole.crop(image)
        if self._image_superpixels is None:
            self._image_superpixels = Superpixels.of(rgb, IMAGE_SUPERPIXELS)
        positive, negative = whole.points(prompt.positive), whole.points(prompt.negative)
        cuts = []
        for region in grow_regions(self._image_superpixels, positive, negative):
            distance, size = trimaps.smoothed_distance(region.astype(np.float32))
            trimap = trimaps.mask_trimap(distance, size, trimaps.GROWN)
            spread_clicks(
                trimap, self._image_superpixels, positive, negative, distance > -0.2 * size
            )
            stamp_clicks(trimap, positive, negative)
            mask, _ = grab_cut(rgb, trimap, MASK_ITERATIONS, self._appearance)
            cuts.append(clean(mask, positive, negative))
        found = self._finish(whole, rgb, cuts, prompt)
        best = np.argsort(-found.scores, kind="stable")[: 3 if multimask else 1]
        best = np.resize(best, 3 if multimask else 1)
        best = best[np.argsort(found.masks[best].sum((1, 2)), kind="stable")]
        return MaskPrediction(found.masks[best], found.scores[best], found.logits[best])

    def _finish(
        self, roi: Roi, rgb: np.ndarray, cuts: list[np.ndarray], prompt: _Prompt
    ) -> MaskPrediction:
        import cv2

        lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        positive, negative = roi.points(prompt.positive), roi.points(prompt.negative)
        box = None if prompt.box is None else roi.points(prompt.box.reshape(2, 2)).reshape(4)
        hw = self._current_image().shape[:2]
        scores = [score(lab, cut, positive, negative, box) for cut in cuts]
        return _prediction([roi.paste(cut, hw) for cut in cuts], scores)


def checked_prompt(
    point_coords: np.ndarray | None,
    point_labels: np.ndarray | None,
    box: np.ndarray | None,
    mask_logits: np.ndarray | None,
) -> _Prompt:
    """Check shapes; raises ValueError for wrong ones and for no prompt at all."""
    coords = np.zeros((0, 2)) if point_coords is None else np.asarray(point_coords, np.float64)
    labels = np.zeros(0, int) if point_labels is None else np.asarray(point_labels)
    if coords.ndim != 2 or coords.shape[1] != 2 or labels.shape != (len(coords),):
        raise ValueError(
            f"points must be [N, 2] with labels [N], got {coords.shape} and {labels.shape}"
        )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("point labels must be 1 (object) or 0 (background)")
    if box is not None:
        box = np.asarray(box, np.float64)
        if box.shape != (4,) or not (box[:2] <= box[2:]).all():
            raise ValueError(f"box must be [x0, y0, x1, y1] with x0 <= x1 and y0 <= y1, got {box}")
    if mask_logits is not None:
        mask_logits = np.asarray(mask_logits, np.float32)
        if mask_logits.shape != (LOGITS_SIZE, LOGITS_SIZE):
            raise ValueError(f"mask logits must be [256, 256], got {mask_logits.shape}")
    if not len(coords) and box is None and mask_logits is None:
        raise ValueError("no prompt: give points, a box or mask logits")
    return _Prompt(coords[labels == 1], coords[labels == 0], box, mask_logits)


def _prediction(masks: list[np.ndarray], scores: list[float]) -> MaskPrediction:
    return MaskPrediction(
        masks=np.stack(masks),
        scores=np.array(scores, np.float32),
        logits=np.stack([logits_from_mask(mask) for mask in masks]),
    )


def _fitted(width: int, height: int, max_side: int) -> tuple[int, int]:
    zoom = min(1.0, max_side / max(width, height))
    return max(1, round(width * zoom)), max(1, round(height * zoom))


def _bounds_of(mask: np.ndarray, prompt: _Prompt) -> np.ndarray:
    """Bounding box [4] of a mask and of the positive clicks, image pixels."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    low = np.array([columns[0], rows[0]], float)
    high = np.array([columns[-1], rows[-1]], float)
    if len(prompt.positive):
        low = np.minimum(low, prompt.positive.min(0))
        high = np.maximum(high, prompt.positive.max(0))
    return np.concatenate([low, high])


def _mask_at(soft: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether points [N, 2] lie in the soft mask: [N] bool."""
    height, width = soft.shape
    index = np.rint(points).astype(int)
    return soft[np.clip(index[:, 1], 0, height - 1), np.clip(index[:, 0], 0, width - 1)] > 0.5
