"""Where SAM's pictures and prompts lie, what its name says, and what happens without weights."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from sa3d.errors import SA3DError
from sa3d.segmenters.sam import OUTSIDE_LOGIT, Geometry, SamSegmenter, resample

WIDE = Geometry(image=(50, 100), content=(64, 128), model=(128, 128))
"""A 100 x 50 image in a padded square of 128 px, as SAM 1 has it."""


def test_pixel_centres_keep_their_place() -> None:
    first, last = WIDE.to_model(np.array([[0, 0], [99, 49]]))
    np.testing.assert_allclose(first + 0.5, [0.64, 0.64])
    np.testing.assert_allclose(last + 0.5, [128 - 0.64, 64 - 0.64])


def test_unpadded_logits_pass_unchanged() -> None:
    maps = torch.randn(2, 1, 16, 16)
    assert resample(maps, (16, 16), (1.0, 1.0)) is maps


def test_mask_prompt_is_padded_and_comes_back() -> None:
    ours = torch.linspace(-8, 8, 256).expand(1, 1, 256, 256)
    padded = resample(ours, (32, 32), (2.0, 1.0))
    assert (padded[0, 0, 16:] == OUTSIDE_LOGIT).all()
    assert (padded[0, 0, :16] > OUTSIDE_LOGIT).all()
    back = resample(padded[:, :, :16], (256, 256), (1.0, 1.0))
    assert (back - ours).abs().max() < 0.3


def test_mask_prompt_reaches_the_model_where_the_object_is(tiny_sam: Path) -> None:
    """SAM 1 pads a wide image below: its mask prompt's lower half must be the padding."""
    segmenter = SamSegmenter(str(tiny_sam))
    segmenter.set_image(np.zeros((50, 100, 3), np.uint8))
    given = []
    hook = segmenter._model.prompt_encoder.mask_embed.register_forward_pre_hook(
        lambda _, inputs: given.append(inputs[0])
    )
    logits = np.full((256, 256), -4.0, np.float32)
    logits[128:, 128:] = 4.0
    segmenter.predict(mask_logits=logits)
    hook.remove()
    positive = torch.nonzero(given[0][0, 0] > 0)
    assert positive.min(0).values.tolist() == [8, 16]
    assert positive.max(0).values.tolist() == [15, 31]


def test_name_tells_weights_and_number_type(tiny_sam: Path, tiny_sam2: Path) -> None:
    names = {
        SamSegmenter(str(tiny_sam)).name,
        SamSegmenter(str(tiny_sam2)).name,
        SamSegmenter(str(tiny_sam2), dtype=torch.bfloat16).name,
    }
    assert len(names) == 3


def test_name_follows_the_weights_in_a_folder(tiny_sam2: Path) -> None:
    segmenter = SamSegmenter(str(tiny_sam2))
    other = SamSegmenter(str(tiny_sam2))
    from sa3d.segmenters.sam import _fingerprint

    with torch.no_grad():
        next(other._model.parameters()).add_(1)
    assert _fingerprint(segmenter._model) in segmenter.name
    assert _fingerprint(other._model) not in segmenter.name


@pytest.mark.parametrize("offline", [True, False])
def test_missing_weights_say_so_quickly(offline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("out of reach" if offline else "not found")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    start = time.monotonic()
    with pytest.raises(SA3DError, match="hf download nobody/nothing"):
        SamSegmenter("nobody/nothing")
    assert time.monotonic() - start < 20


def test_a_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(SA3DError, match="'vit' model"):
        SamSegmenter(str(tmp_path))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SA3DError, match="cannot be loaded"):
        SamSegmenter(str(tmp_path))
