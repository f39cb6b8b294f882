"""Every segmenter passes the contract suite, and every check of the suite can fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sa3d.segmenters.graphcut.segmenter import GraphCutSegmenter
from sa3d.segmenters.protocol import MaskPrediction, PromptableSegmenter
from sa3d.segmenters.sam.family import SamFamilySegmenter
from sa3d.segmenters.sam.loading import load_sam
from sa3d.testing.oracle_segmenter import OracleSegmenter
from sa3d.testing.random_sam import FAMILIES
from sa3d.testing.segmenter_contract import (
    check_finds,
    check_segmenter,
    check_sizes,
    corner_images,
    prompts,
)

REAL_WEIGHTS = "SA3D_SAM_WEIGHTS"
"""Environment variable: folders with real weights, separated as in PATH."""


def picture() -> np.ndarray:
    """Return a noisy orange blob on noisy grey, [72, 100, 3] uint8."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:72, :100]
    image = np.full((72, 100, 3), (110, 120, 130), float)
    image[((x - 50) / 22) ** 2 + ((y - 36) / 15) ** 2 <= 1] = (220, 120, 40)
    return (image + random.normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8)


def batching(segmenter: SamFamilySegmenter) -> SamFamilySegmenter:
    """A SAM that encodes two images at once, as on a GPU."""
    segmenter.batch_size = 2
    return segmenter


def test_graphcut() -> None:
    check_segmenter(GraphCutSegmenter, picture())
    check_sizes(GraphCutSegmenter, corner_images())
    check_finds(GraphCutSegmenter, corner_images())


def test_oracle() -> None:
    image, mask = picture(), np.zeros((72, 100), bool)
    mask[21:52, 28:73] = True
    turned = np.ascontiguousarray(image[::-1, ::-1])
    images, masks = {"a": image, "b": turned}, {"a": {"blob": mask}, "b": {"blob": mask}}
    check_segmenter(lambda: OracleSegmenter(images, masks), image)
    corners = corner_images()
    images = {str(i): one.image for i, one in enumerate(corners)}
    masks = {str(i): {"block": one.truth} for i, one in enumerate(corners)}
    check_sizes(lambda: OracleSegmenter(images, masks), corners)
    check_finds(lambda: OracleSegmenter(images, masks), corners)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sam(family: str, dtype: torch.dtype, tiny_weights: Callable[[str], Path]) -> None:
    def make() -> SamFamilySegmenter:
        return batching(load_sam(str(tiny_weights(family)), dtype=dtype))

    check_segmenter(make, picture())
    check_sizes(make, corner_images())


@pytest.mark.gpu
@pytest.mark.parametrize("family", FAMILIES)
def test_sam_on_a_gpu(family: str, tiny_weights: Callable[[str], Path]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")

    def make() -> SamFamilySegmenter:
        return load_sam(str(tiny_weights(family)), "cuda")

    assert make().batch_size > 1
    assert make().name.endswith(("bfloat16", "float16"))
    check_segmenter(make, picture())
    check_sizes(make, corner_images())


def test_real_weights() -> None:
    folders = [one for one in os.environ.get(REAL_WEIGHTS, "").split(os.pathsep) if one]
    if not folders:
        pytest.skip(f"no real weights: name folders with them in {REAL_WEIGHTS}")
    for folder in folders:
        check_segmenter(lambda folder=folder: batching(load_sam(folder)), picture())
        check_finds(lambda folder=folder: load_sam(folder), corner_images())


class Broken(GraphCutSegmenter):
    """A segmenter that violates one rule of the contract, named by ``how``."""

    how = ""
    has_appearance = False

    def predict(self, *args, multimask_output: bool = False, **kwargs) -> MaskPrediction:
        if self.how == "accepts nothing" and not kwargs:
            kwargs = {"box": np.array([0, 0, 5, 5])}
        if self.how == "swaps x and y" and kwargs.get("box") is not None:
            kwargs["box"] = kwargs["box"][[1, 0, 3, 2]]
        if self.how == "counts from the bottom" and kwargs.get("box") is not None:
            x0, y0, x1, y1 = kwargs["box"]
            height = len(self.save_state()["image"])
            kwargs["box"] = np.array([x0, height - 1 - y1, x1, height - 1 - y0])
        found = super().predict(*args, multimask_output=multimask_output, **kwargs)
        given, drawn = kwargs.get("mask_logits"), prompts(picture())["mask"]["mask_logits"]
        if self.how == "own logits" and given is not None and (given != drawn).any():
            return replace(found, logits=found.logits * np.float32(np.nan))
        return self._broken(found)

    def _broken(self, found: MaskPrediction) -> MaskPrediction:
        random = np.random.default_rng()
        if self.how == "padded logits":
            squeezed = found.logits[:, np.arange(256) * 100 // 72 % 256]
            inside = np.arange(256)[:, None] < 184
            return replace(found, logits=np.where(inside, squeezed, np.float32(-10)))
        if self.how == "remembers" and self.has_appearance:
            return replace(found, scores=found.scores / 2)
        changes: dict[str, dict[str, Any]] = {
            "one mask": {"masks": found.masks[:1]},
            "bytes": {"masks": found.masks.astype(np.uint8)},
            "doubles": {"scores": found.scores.astype(np.float64)},
            "sure of itself": {"scores": found.scores + 1},
            "small logits": {"logits": found.logits[:, ::2, ::2]},
            "largest first": {"masks": found.masks[::-1], "logits": found.logits[::-1]},
            "noise": {"scores": random.random(len(found.scores), np.float32)},
            "transposed": {"masks": found.masks.swapaxes(1, 2)},
        }
        return replace(found, **changes.get(self.how, {}))

    def restore_state(self, state) -> None:
        super().restore_state(state)
        if self.how == "forgets":
            self.set_image(np.asarray(state["image"])[:, ::-1])

    def set_appearance(self, samples: np.ndarray | None) -> None:
        self.has_appearance = self.has_appearance or samples is not None
        super().set_appearance(samples)

    def sample_appearance(self, mask: np.ndarray) -> np.ndarray:
        samples = super().sample_appearance(mask)
        return samples[:, : mask.sum()] if self.how == "few samples" else samples


class BrokenBatch(Broken):
    """A segmenter with batches that violates one rule of the contract, named by ``how``."""

    batch_size = 2

    def encode_images(self, images: Sequence[np.ndarray]) -> list[Mapping[str, np.ndarray]]:
        segmenter = self if self.how == "changes the image" else GraphCutSegmenter()
        states = []
        for image in images[:-1] if self.how == "drops one" else images:
            segmenter.set_image(image)
            states.append({key: value.copy() for key, value in segmenter.save_state().items()})
        return states[::-1] if self.how == "out of order" else states


def broken(how: str, kind: type[Broken] = Broken) -> Callable[[], PromptableSegmenter]:
    def make() -> PromptableSegmenter:
        segmenter = kind()
        segmenter.how = how
        return segmenter

    return make


def test_a_segmenter_without_violations_passes() -> None:
    check_segmenter(broken("", BrokenBatch), picture())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("accepts nothing", "no prompt: ValueError expected"),
        ("one mask", "masks are"),
        ("bytes", "masks are uint8"),
        ("doubles", "scores are float64"),
        ("sure of itself", "a score is not in"),
        ("small logits", "logits are"),
        ("padded logits", "logits and mask agree"),
        ("largest first", "candidates do not grow"),
        ("own logits", "own logits: a logit is not finite"),
        ("noise", "scores differ"),
        ("forgets", "restored"),
        ("remembers", "appearance forgotten"),
        ("few samples", "the number of samples depends"),
    ],
)
def test_a_violated_rule_is_noticed(how: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_segmenter(broken(how), picture())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("drops one", "2 states for 3 images"),
        ("out of order", "image 0 of a batch"),
        ("changes the image", "encode_images changed the current image"),
    ],
)
def test_a_violated_rule_of_batches_is_noticed(how: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_segmenter(broken(how, BrokenBatch), picture())


def test_a_mask_of_another_shape_is_noticed() -> None:
    with pytest.raises(AssertionError, match="corner of 96 x 72: masks are"):
        check_sizes(broken("transposed"), corner_images())


@pytest.mark.parametrize("how", ["swaps x and y", "counts from the bottom"])
def test_a_misplaced_mask_is_noticed(how: str) -> None:
    with pytest.raises(AssertionError, match="block at"):
        check_finds(broken(how), corner_images())
