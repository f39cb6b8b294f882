"""The embedded segmenter: graph cuts behind SAM's interface."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sa3d.segmenters.graphcut.box import cut_box
from sa3d.segmenters.graphcut.clicks import grow_regions, nested, spread_clicks, stamp_clicks
from sa3d.segmenters.graphcut.cut import grab_cut, sample_colors
from sa3d.segmenters.graphcut.masks import (
    clean,
    logits_from_mask,
    logits_to_image,
    predicted_iou,
    score,
)
from sa3d.segmenters.graphcut.refine import (
    GROWN,
    Corrections,
    mask_trimap,
    refine,
    smoothed_distance,
)
from sa3d.segmenters.graphcut.roi import Roi, fitted
from sa3d.segmenters.graphcut.superpixels import Superpixels
from sa3d.segmenters.prompt_check import CheckedPrompt, checked_image
from sa3d.segmenters.protocol import MaskPrediction

ROI_SIDE_PX = 320
"""Longer side of a cut; more was no better on photos of 640 px, and costs quadratically."""

BOX_PAD = 0.33
"""Margin around a box that shows the background, as a share of the box's longer side."""

MASK_PAD = 0.20
"""Margin around an earlier mask that shows the background, as a share of its longer side."""

BOX_ZOOM = 1.5
"""Largest enlargement of a box."""

MASK_ZOOM = 1.0
"""Largest enlargement of an earlier mask."""

CLICK_SUPERPIXELS = 700
"""Number of superpixels in the region around a box with points."""

IMAGE_SUPERPIXELS = 900
"""Number of superpixels in the whole image."""

IMAGE_SIDE_PX = 400
"""Longer side of the whole image for prompts of points alone."""

CLICK_ITERATIONS = 3
"""Number of times that GrabCut learns the colors and cuts, for prompts of points alone."""


class GraphCutSegmenter:
    """A promptable segmenter without weights: GrabCut, with points that spread geodesically.

    The segmenter is strong with an earlier mask or with a box and a few points, and weak with a
    single point. It implements ``PromptableSegmenter`` and ``LearnsAppearance``.

    Example:
        >>> segmenter = GraphCutSegmenter()
        >>> segmenter.set_image(image)
        >>> mask = segmenter.predict(box=np.array([40, 30, 200, 180])).masks[0]
    """

    def __init__(self) -> None:
        self._image: np.ndarray | None = None
        self._image_superpixels: Superpixels | None = None
        self._appearance: np.ndarray | None = None

    @property
    def name(self) -> str:
        """Name of the segmenter: "graphcut"."""
        return "graphcut"

    def set_image(self, image: np.ndarray) -> None:
        """Make an image [H, W, 3] uint8 RGB the current one; ``predict`` does all the work."""
        self._image = checked_image(image).copy()
        self._image_superpixels = None

    def save_state(self) -> Mapping[str, np.ndarray]:
        """Return the current image itself, as there is no encoding."""
        return {"image": self._current_image().copy()}

    def restore_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Make a stored image the current one."""
        self.set_image(np.asarray(state["image"]))

    def sample_appearance(self, mask: np.ndarray) -> np.ndarray:
        """Sample the colors of an object and its surroundings in the current image.

        Args:
            mask: [H, W] bool, the object; not empty.

        Returns:
            [2, 256, 3] uint8, object first.

        Raises:
            RuntimeError: there is no current image.
            ValueError: the mask is empty, not bool, or of another size.
        """
        image = self._current_image()
        if mask.shape != image.shape[:2] or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(f"mask must be {image.shape[:2]} bool and not empty")
        return sample_colors(image, mask)

    def set_appearance(self, samples: np.ndarray | None) -> None:
        """Learn from colors [V, 2, N, 3] uint8 of other views in the next predictions.

        Raises:
            ValueError: the array has another shape or type.
        """
        if samples is None or not len(samples):
            self._appearance = None
            return
        if samples.ndim != 4 or samples.shape[1::2] != (2, 3) or samples.dtype != np.uint8:
            raise ValueError(f"samples must be [V, 2, N, 3] uint8, got {samples.shape}")
        self._appearance = samples.transpose(1, 0, 2, 3).reshape(2, -1, 3)

    def predict(
        self,
        point_coords: np.ndarray | None = None,
        point_labels: np.ndarray | None = None,
        box: np.ndarray | None = None,
        mask_logits: np.ndarray | None = None,
        *,
        multimask_output: bool = False,
    ) -> MaskPrediction:
        """Segment the prompted object in the current image; see ``PromptableSegmenter``."""
        image = self._current_image()
        prompt = CheckedPrompt.of(point_coords, point_labels, box, mask_logits)
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

    def _from_mask(
        self, prompt: CheckedPrompt, soft: np.ndarray, multimask: bool
    ) -> MaskPrediction:
        """Refine an earlier mask, soft [H, W] in [0, 1]."""
        import cv2

        image = self._current_image()
        roi = Roi.around(
            _bounds_of(soft > 0.5, prompt),
            soft.shape,
            pad=MASK_PAD,
            max_side=ROI_SIDE_PX,
            max_zoom=MASK_ZOOM,
        )
        rgb, local = roi.crop(image), roi.crop(soft.astype(np.float32))
        lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        positive, negative = roi.points(prompt.positive), roi.points(prompt.negative)
        cuts = refine(
            rgb,
            lab,
            local,
            Corrections.of(local, positive, negative),
            self._appearance,
            multimask=multimask,
        )
        return self._finish(roi, rgb, _cleaned(cuts, positive, negative), prompt)

    def _from_box(self, prompt: CheckedPrompt, box: np.ndarray, multimask: bool) -> MaskPrediction:
        import cv2

        image = self._current_image()
        roi = Roi.around(box, image.shape[:2], pad=BOX_PAD, max_side=ROI_SIDE_PX, max_zoom=BOX_ZOOM)
        rgb = roi.crop(image)
        positive, negative = roi.points(prompt.positive), roi.points(prompt.negative)
        corners = roi.points(box.reshape(2, 2)).reshape(4)
        clicks = None
        if len(positive) + len(negative):
            clicks = (Superpixels.of(rgb, CLICK_SUPERPIXELS), positive, negative)
        lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        cuts = cut_box(rgb, lab, corners, clicks, self._appearance)
        found = self._finish(roi, rgb, _cleaned(cuts, positive, negative), prompt)
        return found if multimask else _chosen(found, np.argmax(found.scores, keepdims=True))

    def _from_clicks(self, prompt: CheckedPrompt, multimask: bool) -> MaskPrediction:
        """Grow regions over the whole image, cut each, and keep the best."""
        image = self._current_image()
        whole = Roi(
            0,
            0,
            image.shape[1],
            image.shape[0],
            *fitted(image.shape[1], image.shape[0], IMAGE_SIDE_PX),
        )
        rgb = whole.crop(image)
        if self._image_superpixels is None:
            self._image_superpixels = Superpixels.of(rgb, IMAGE_SUPERPIXELS)
        positive, negative = whole.points(prompt.positive), whole.points(prompt.negative)
        cuts = []
        for region in grow_regions(self._image_superpixels, positive, negative):
            distance, size = smoothed_distance(region.astype(np.float32))
            trimap = mask_trimap(distance, size, GROWN)
            spread_clicks(
                trimap, self._image_superpixels, positive, negative, distance > -0.2 * size
            )
            stamp_clicks(trimap, positive, negative)
            mask, _ = grab_cut(rgb, trimap, CLICK_ITERATIONS, self._appearance)
            cuts.append(clean(mask, positive, negative))
        found = self._finish(whole, rgb, cuts, prompt)
        if not multimask:
            return _chosen(found, np.argmax(found.scores, keepdims=True))
        best = np.argsort(-found.scores, kind="stable")[:3]
        cuts = sorted(cuts, key=lambda cut: int(cut.sum()))
        return self._finish(whole, rgb, nested([cuts[i] for i in np.resize(best, 3)]), prompt)

    def _finish(
        self, roi: Roi, rgb: np.ndarray, cuts: list[np.ndarray], prompt: CheckedPrompt
    ) -> MaskPrediction:
        import cv2

        lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        positive, negative = roi.points(prompt.positive), roi.points(prompt.negative)
        box = None if prompt.box is None else roi.points(prompt.box.reshape(2, 2)).reshape(4)
        hw = self._current_image().shape[:2]
        cuts = sorted(cuts, key=lambda cut: int(cut.sum()))
        scores = [
            predicted_iou(
                score(lab, cut, positive, negative, box),
                len(positive) + len(negative),
                has_mask=prompt.mask_logits is not None,
                has_box=box is not None,
            )
            for cut in cuts
        ]
        return _prediction([roi.paste(cut, hw) for cut in cuts], scores)


def _prediction(masks: list[np.ndarray], scores: list[float]) -> MaskPrediction:
    return MaskPrediction(
        masks=np.stack(masks),
        scores=np.array(scores, np.float32),
        logits=np.stack([logits_from_mask(mask) for mask in masks]),
    )


def _cleaned(
    cuts: list[np.ndarray], positive: np.ndarray, negative: np.ndarray
) -> list[np.ndarray]:
    """Clean each mask by itself; if there are three, nest them again."""
    cuts = [clean(cut, positive, negative) for cut in cuts]
    return nested([cuts[1], cuts[0], cuts[2]]) if len(cuts) == 3 else cuts


def _chosen(found: MaskPrediction, which: np.ndarray) -> MaskPrediction:
    return MaskPrediction(found.masks[which], found.scores[which], found.logits[which])


def _bounds_of(mask: np.ndarray, prompt: CheckedPrompt) -> np.ndarray:
    """Return the bounding box [4] of a mask and of the positive points, image pixels."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    low = np.array([columns[0], rows[0]], float)
    high = np.array([columns[-1], rows[-1]], float)
    if len(prompt.positive):
        low = np.minimum(low, prompt.positive.min(0))
        high = np.maximum(high, prompt.positive.max(0))
    return np.concatenate([low, high])
