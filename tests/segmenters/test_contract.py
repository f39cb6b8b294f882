"""Every segmenter passes the contract suite, and the suite can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sa3d.segmenter import MaskPrediction, PromptableSegmenter
from sa3d.segmenters.graphcut import GraphCutSegmenter
from sa3d.segmenters.sam import SamSegmenter
from sa3d.testing.oracle_segmenter import OracleSegmenter
from sa3d.testing.segmenter_contract import check_segmenter


def picture() -> np.ndarray:
    """A noisy orange blob on noisy grey, [72, 100, 3] uint8."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:72, :100]
    image = np.full((72, 100, 3), (110, 120, 130), float)
    image[((x - 50) / 22) ** 2 + ((y - 36) / 15) ** 2 <= 1] = (220, 120, 40)
    return (image + random.normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8)


def test_graphcut() -> None:
    check_segmenter(GraphCutSegmenter, picture())


def test_oracle() -> None:
    image, mask = picture(), np.zeros((72, 100), bool)
    mask[21:52, 28:73] = True
    turned = np.ascontiguousarray(image[::-1, ::-1])
    images, masks = {"a": image, "b": turned}, {"a": {"blob": mask}, "b": {"blob": mask}}
    check_segmenter(lambda: OracleSegmenter(images, masks), image)


@pytest.mark.parametrize("kind", ["tiny_sam", "tiny_sam2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sam(kind: str, dtype: torch.dtype, request: pytest.FixtureRequest) -> None:
    weights: Path = request.getfixturevalue(kind)
    check_segmenter(lambda: SamSegmenter(str(weights), dtype=dtype), picture())


class Broken(GraphCutSegmenter):
    """Breaks one promise, named by ``how``."""

    how = ""

    def predict(self, *args, multimask_output: bool = False, **kwargs) -> MaskPrediction:
        if self.how == "accepts nothing" and not kwargs:
            kwargs = {"box": np.array([0, 0, 5, 5])}
        found = super().predict(*args, multimask_output=multimask_output, **kwargs)
        if self.how == "padded logits":
            squeezed = found.logits[:, np.arange(256) * 100 // 72 % 256]
            return replace(
                found, logits=np.where(np.arange(256)[:, None] < 184, squeezed, np.float32(-10))
            )
        if self.how == "one mask":
            return replace(found, masks=found.masks[:1])
        if self.how == "noise":
            return replace(
                found, scores=np.random.default_rng().random(len(found.scores), np.float32)
            )
        return found

    def restore_state(self, state) -> None:
        super().restore_state(state)
        if self.how == "forgets":
            self.set_image(np.asarray(state["image"])[:, ::-1])


@pytest.mark.parametrize(
    "how", ["accepts nothing", "padded logits", "one mask", "noise", "forgets"]
)
def test_suite_notices_a_broken_promise(how: str) -> None:
    def make() -> PromptableSegmenter:
        broken = Broken()
        broken.how = how
        return broken

    with pytest.raises(AssertionError):
        check_segmenter(make, picture())
