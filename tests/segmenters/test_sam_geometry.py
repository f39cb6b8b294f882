"""Images and mask prompts in the model's square input."""

from __future__ import annotations

import numpy as np
import torch

from sa3d.segmenters.sam.geometry import OUTSIDE_LOGIT, Geometry, masks_in_image, resample

WIDE = Geometry(image=(50, 100), content=(64, 128), model=(128, 128))
"""A 100 x 50 image in a padded square of 128 px, as SAM 1 has it."""


def test_pixel_centres_keep_their_place() -> None:
    first, last = WIDE.to_model(np.array([[0, 0], [99, 49]]))
    np.testing.assert_allclose(first + 0.5, [0.64, 0.64])
    np.testing.assert_allclose(last + 0.5, [128 - 0.64, 64 - 0.64])


def test_unpadded_logits_pass_unchanged() -> None:
    maps = torch.randn(2, 1, 16, 16)
    assert resample(maps, (16, 16), (1.0, 1.0)) is maps


def test_mask_prompt_is_padded_and_restored() -> None:
    logits = torch.linspace(-8, 8, 256).expand(1, 1, 256, 256)
    padded = resample(logits, (32, 32), (2.0, 1.0))
    assert (padded[0, 0, 16:] == OUTSIDE_LOGIT).all()
    assert (padded[0, 0, :16] > OUTSIDE_LOGIT).all()
    back = resample(padded[:, :, :16], (256, 256), (1.0, 1.0))
    assert (back - logits).abs().max() < 0.3


def test_masks_do_not_contain_the_padding() -> None:
    low_res = torch.full((1, 1, 32, 32), -1.0)
    low_res[:, :, 8:, 16:] = 1.0  # the lower half of 32 is padding
    mask = masks_in_image(low_res, WIDE)[0]
    assert mask.shape == (50, 100)
    assert mask[26:, 51:].all()
    assert not mask[:24].any()
    assert not mask[:, :49].any()
