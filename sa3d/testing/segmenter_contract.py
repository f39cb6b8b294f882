"""Assertions that every ``PromptableSegmenter`` must pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sa3d.segmenters.graphcut.masks import logits_to_image
from sa3d.segmenters.protocol import (
    LOGITS_SIZE,
    EncodesBatches,
    LearnsAppearance,
    MaskPrediction,
    PromptableSegmenter,
)


def check_segmenter(make: Callable[[], PromptableSegmenter], image: np.ndarray) -> None:
    """Check a segmenter against its contract; its accuracy is not checked.

    Args:
        make: returns a new segmenter, always with the same weights.
        image: [H, W, 3] uint8, H and W different, with something in the middle.

    Raises:
        AssertionError: the segmenter breaks the contract; the message names the broken rule.

    Example:
        >>> check_segmenter(GraphCutSegmenter, image)
    """
    assert image.shape[0] != image.shape[1], "give an image that is not square"
    segmenter = make()
    assert isinstance(segmenter, PromptableSegmenter), "a member of PromptableSegmenter is missing"
    assert segmenter.name, "the name is empty"
    assert segmenter.name == make().name, "equal segmenters differ in name"
    check_errors(make(), image)
    segmenter.set_image(image)
    check_predictions(segmenter, image)
    check_mask_round_trip(segmenter, image)
    check_determinism(segmenter, make, image)
    check_state(segmenter, make(), image)
    if isinstance(segmenter, EncodesBatches):
        check_batch(segmenter, image)
    if isinstance(segmenter, LearnsAppearance):
        check_appearance(segmenter, image)


def prompts(image: np.ndarray) -> dict[str, dict[str, Any]]:
    """Return a prompt of each kind for the middle of an image, as arguments of ``predict``."""
    height, width = image.shape[:2]
    middle, corner = (width // 2, height // 2), (width - 1, height - 1)
    points = {"point_coords": np.array([middle, corner]), "point_labels": np.array([1, 0])}
    box = {"box": np.array([width // 4, height // 4, 3 * width // 4, 3 * height // 4])}
    far = np.abs(np.linspace(-1, 1, LOGITS_SIZE, dtype=np.float32))
    mask = {"mask_logits": 20 * (0.5 - np.maximum(far[:, None], far[None])).clip(-0.5, 0.5)}
    return {
        "click": {"point_coords": points["point_coords"][:1], "point_labels": np.array([1])},
        "clicks": points,
        "box": box,
        "box and clicks": {**box, **points},
        "mask": mask,
        "everything": {**box, **points, **mask},
    }


def check_predictions(segmenter: PromptableSegmenter, image: np.ndarray) -> None:
    """Check shapes, types and ranges for prompts of all kinds, with one candidate and three."""
    for kind, prompt in prompts(image).items():
        for count in (1, 3):
            found = segmenter.predict(**prompt, multimask_output=count == 3)
            check_prediction(found, count, image.shape[:2], kind)


def check_prediction(
    found: MaskPrediction, count: int, image_hw: tuple[int, ...], kind: str
) -> None:
    """Check shapes, types and ranges of ``count`` candidates; ``kind`` is for messages."""
    shape = (count, *image_hw)
    assert found.masks.shape == shape, f"{kind}: masks are {found.masks.shape}, expected {shape}"
    assert found.masks.dtype == np.bool_, f"{kind}: masks are {found.masks.dtype}"
    assert found.scores.shape == (count,), f"{kind}: scores are {found.scores.shape}"
    assert found.scores.dtype == np.float32, f"{kind}: scores are {found.scores.dtype}"
    assert ((found.scores >= 0) & (found.scores <= 1)).all(), f"{kind}: a score is not in [0, 1]"
    low_res = (count, LOGITS_SIZE, LOGITS_SIZE)
    assert found.logits.shape == low_res, f"{kind}: logits are {found.logits.shape}"
    assert found.logits.dtype == np.float32, f"{kind}: logits are {found.logits.dtype}"
    assert np.isfinite(found.logits).all(), f"{kind}: a logit is not finite"
    areas = found.masks.sum((1, 2))
    assert (np.diff(areas) >= 0).all(), f"{kind}: candidates do not grow: {areas}"
    if found.masks.any():
        _check_logits_agree(found, kind)


def _check_logits_agree(found: MaskPrediction, kind: str) -> None:
    """Check that the sign of the logits, stretched over the whole image, is the mask."""
    for mask, logits in zip(found.masks, found.logits, strict=True):
        agree = float((mask == (logits_to_image(logits, mask.shape) > 0)).mean())
        assert agree > 0.95, f"{kind}: logits and mask agree on {agree:.0%} of the pixels only"


def check_mask_round_trip(segmenter: PromptableSegmenter, image: np.ndarray) -> None:
    """Check that returned logits are accepted as input, alone and with their prompt."""
    prompt = prompts(image)["box and clicks"]
    first = segmenter.predict(**prompt)
    for again in (
        segmenter.predict(mask_logits=first.logits[0]),
        segmenter.predict(**prompt, mask_logits=first.logits[0]),
    ):
        check_prediction(again, 1, image.shape[:2], "own logits")


def check_determinism(
    segmenter: PromptableSegmenter, make: Callable[[], PromptableSegmenter], image: np.ndarray
) -> None:
    """Check that equal prompts give equal masks, in any order and from another instance."""
    kinds = prompts(image)
    first = {kind: segmenter.predict(**prompt) for kind, prompt in kinds.items()}
    other = make()
    other.set_image(image)
    for kind, prompt in reversed(kinds.items()):
        _check_equal(first[kind], segmenter.predict(**prompt), f"{kind}: a second call")
        _check_equal(first[kind], other.predict(**prompt), f"{kind}: another instance")


def check_state(
    segmenter: PromptableSegmenter, fresh: PromptableSegmenter, image: np.ndarray
) -> None:
    """Check that a restored state gives the same masks as before, with other images in between."""
    state = {key: value.copy() for key, value in segmenter.save_state().items()}
    assert all(isinstance(value, np.ndarray) for value in state.values()), "state is not arrays"
    expected = {kind: segmenter.predict(**prompt) for kind, prompt in prompts(image).items()}
    used = {key: value.copy() for key, value in state.items()}
    fresh.restore_state(used)
    for key, value in fresh.save_state().items():
        assert np.array_equal(value, state[key]), f"{key}: restored, then saved, it differs"
    segmenter.set_image(np.ascontiguousarray(image[::-1, ::-1]))
    segmenter.restore_state(state)
    for kind, prompt in prompts(image).items():
        _check_equal(expected[kind], fresh.predict(**prompt), f"{kind}: restored elsewhere")
        _check_equal(expected[kind], segmenter.predict(**prompt), f"{kind}: restored")
    for key, value in used.items():  # the same state can be restored again
        assert np.array_equal(value, state[key]), f"{key}: predicting changed the restored arrays"


def check_batch(segmenter: EncodesBatches, image: np.ndarray) -> None:
    """Check that images of several sizes, encoded together, give the same as one by one."""
    assert isinstance(segmenter, PromptableSegmenter)
    turned = np.ascontiguousarray(image[::-1, ::-1])
    images = [image, turned, np.ascontiguousarray(image.transpose(1, 0, 2))]
    segmenter.set_image(turned)
    before = segmenter.predict(**prompts(turned)["box"])
    states = segmenter.encode_images(images)
    after = segmenter.predict(**prompts(turned)["box"])
    _check_equal(before, after, "encode_images changed the current image")
    assert len(states) == len(images), f"{len(states)} states for {len(images)} images"
    for i, (one, together) in enumerate(zip(images, states, strict=True)):
        segmenter.set_image(one)
        _check_close(segmenter.save_state(), together, f"image {i} of a batch")
        alone = segmenter.predict(**prompts(one)["box and clicks"])
        segmenter.restore_state(together)
        found = segmenter.predict(**prompts(one)["box and clicks"])
        agree = float((alone.masks == found.masks).mean())
        assert agree > 0.99, f"image {i} of a batch: masks agree on {agree:.1%} of the pixels"


def _check_close(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], label: str) -> None:
    assert set(a) == set(b), f"{label}: states have {sorted(a)} and {sorted(b)}"
    for key in a:
        assert a[key].shape == b[key].shape, f"{label}: {key} differs in shape"
        assert a[key].dtype == b[key].dtype, f"{label}: {key} differs in type"
        one, other = a[key].astype(np.float64), b[key].astype(np.float64)
        rounding = 0.01 * max(float(np.abs(one).max(initial=0)), 1e-6)
        assert np.abs(one - other).max(initial=0) <= rounding, f"{label}: {key} differs"


def check_errors(segmenter: PromptableSegmenter, image: np.ndarray) -> None:
    """Check that wrong calls raise errors.

    Args:
        segmenter: without an image.
        image: [H, W, 3] uint8.
    """
    click = prompts(image)["click"]
    _expect(RuntimeError, "no image, predict", lambda: segmenter.predict(**click))
    _expect(RuntimeError, "no image, save_state", segmenter.save_state)
    for wrong in (image[..., 0], image.astype(np.float32), image[..., :2], image[:0]):
        label = f"image {wrong.shape} {wrong.dtype}"
        _expect(ValueError, label, lambda wrong=wrong: segmenter.set_image(wrong))
    segmenter.set_image(image)
    wrong_prompts: dict[str, dict[str, Any]] = {
        "no prompt": {},
        "no points": {"point_coords": np.zeros((0, 2)), "point_labels": np.zeros(0)},
        "points without labels": {"point_coords": np.zeros((1, 2))},
        "points [N, 3]": {"point_coords": np.zeros((1, 3)), "point_labels": np.ones(1)},
        "two labels for one point": {"point_coords": np.zeros((1, 2)), "point_labels": np.ones(2)},
        "label 2": {"point_coords": np.zeros((1, 2)), "point_labels": np.array([2])},
        "box [2, 2]": {"box": np.zeros((2, 2))},
        "box upside down": {"box": np.array([0, 9, 9, 0])},
        "mask of the image's size": {"mask_logits": np.zeros(image.shape[:2])},
    }
    for label, prompt in wrong_prompts.items():
        _expect(ValueError, label, lambda prompt=prompt: segmenter.predict(**prompt))


def check_appearance(segmenter: LearnsAppearance, image: np.ndarray) -> None:
    """Check that samples have a fixed shape, and that unset samples have no effect."""
    assert isinstance(segmenter, PromptableSegmenter)
    segmenter.set_image(image)
    prompt = prompts(image)["box"]
    before = segmenter.predict(**prompt)
    mask = np.zeros(image.shape[:2], bool)
    mask[image.shape[0] // 3 : image.shape[0] // 2, image.shape[1] // 3 : image.shape[1] // 2] = (
        True
    )
    samples = segmenter.sample_appearance(mask)
    small = segmenter.sample_appearance(np.eye(*mask.shape, dtype=bool))
    assert samples.shape == small.shape, "the number of samples depends on the mask"
    assert samples.ndim == 3, f"samples are {samples.shape}"
    assert samples.shape[::2] == (2, 3), f"samples are {samples.shape}"
    assert samples.dtype == np.uint8, f"samples are {samples.dtype}"
    segmenter.set_appearance(samples[None])
    check_prediction(segmenter.predict(**prompt), 1, image.shape[:2], "with appearance")
    segmenter.set_appearance(None)
    _check_equal(before, segmenter.predict(**prompt), "appearance forgotten")


def _check_equal(a: MaskPrediction, b: MaskPrediction, label: str) -> None:
    for field in ("masks", "scores", "logits"):
        same = np.array_equal(getattr(a, field), getattr(b, field))
        assert same, f"{label}: {field} differ"


def _expect(error: type[Exception], label: str, call: Callable[[], object]) -> None:
    try:
        call()
    except error:
        return
    raise AssertionError(f"{label}: {error.__name__} expected, but not raised")


SIZES = ((72, 96), (96, 54))
"""Height and width of a 4:3 image and a 9:16 image."""


@dataclass(frozen=True)
class CornerImage:
    """A bright block in one corner of a dark image.

    Attributes:
        image: [H, W, 3] uint8.
        truth: [H, W] bool, the block.
        corner: pixel (x, y) of the image's corner that the block fills.
    """

    image: np.ndarray
    truth: np.ndarray
    corner: tuple[int, int]

    @property
    def box(self) -> np.ndarray:
        """Box of the block, XYXY pixel indices."""
        rows, columns = np.nonzero(self.truth)
        return np.array([columns.min(), rows.min(), columns.max(), rows.max()])

    @property
    def opposite(self) -> tuple[int, int]:
        """Pixel (x, y) of the opposite corner."""
        height, width = self.truth.shape
        return width - 1 - self.corner[0], height - 1 - self.corner[1]


def corner_images() -> list[CornerImage]:
    """Return an image of each size for each of the four corners."""
    corners = []
    for height, width in SIZES:
        for right, below in ((0, 0), (1, 0), (0, 1), (1, 1)):
            truth = np.zeros((height, width), bool)
            truth[: height // 2, : width // 3] = True
            truth = truth[:: -1 if below else 1, :: -1 if right else 1].copy()
            noise = np.random.default_rng(len(corners)).normal(0, 5, (height, width, 3))
            image = np.where(truth[..., None], (230, 190, 60), (50, 60, 80)) + noise
            corner = (right * (width - 1), below * (height - 1))
            corners.append(CornerImage(image.clip(0, 255).astype(np.uint8), truth, corner))
    return corners


def check_sizes(make: Callable[[], PromptableSegmenter], corners: Sequence[CornerImage]) -> None:
    """Check that prompts on the outermost pixels work, for images of any shape.

    Raises:
        AssertionError: a prompt does not work.
    """
    segmenter = make()
    for sample in corners:
        segmenter.set_image(sample.image)
        height, width = sample.truth.shape
        click: dict[str, Any] = {
            "point_coords": np.array([sample.corner]),
            "point_labels": np.array([1]),
        }
        whole: dict[str, Any] = {"box": np.array([0, 0, width - 1, height - 1])}
        for kind, prompt in {"corner": click, "whole": whole, "both": {**click, **whole}}.items():
            found = segmenter.predict(**prompt)
            check_prediction(found, 1, (height, width), f"{kind} of {width} x {height}")


def check_finds(make: Callable[[], PromptableSegmenter], corners: Sequence[CornerImage]) -> None:
    """Check that a segmenter finds the block, including the pixel in the corner.

    Segmenters with random weights do not pass this check.

    Raises:
        AssertionError: a mask is wrong.
    """
    segmenter = make()
    for sample in corners:
        segmenter.set_image(sample.image)
        label = f"block at {sample.corner} of {sample.truth.shape[::-1]}"
        boxed = segmenter.predict(box=sample.box)
        _check_mask(boxed.masks[0], sample, f"{label}, box")
        again = segmenter.predict(box=sample.box, mask_logits=boxed.logits[0])
        _check_mask(again.masks[0], sample, f"{label}, box and own logits")
        clicks = np.array([sample.corner, sample.opposite])
        clicked = segmenter.predict(clicks, np.array([1, 0]), sample.box)
        _check_mask(clicked.masks[0], sample, f"{label}, box and clicks in two corners")


def _check_mask(mask: np.ndarray, sample: CornerImage, label: str) -> None:
    x, y = sample.corner
    assert mask[y, x], f"{label}: the corner pixel is missing"
    x, y = sample.opposite
    assert not mask[y, x], f"{label}: the opposite corner is in"
    iou = (mask & sample.truth).sum() / (mask | sample.truth).sum()
    assert iou > 0.9, f"{label}: IoU {iou:.2f}"
