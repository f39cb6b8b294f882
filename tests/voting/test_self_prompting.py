"""Tests of self-prompts for rendered masks with known answers."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sa3d.voting.config import SelfPromptConfig
from sa3d.voting.self_prompting import SelfPrompt, probability_to_logits, self_prompt

HEIGHT, WIDTH = 30, 40


def plane(height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """Surface points [h, w, 3] of a plane seen head on, one unit a pixel."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y, torch.zeros_like(x)], dim=-1).float()


def prompt_of(
    probability: Tensor, *, size: tuple[int, int] = (WIDTH, HEIGHT), **config: float
) -> SelfPrompt | None:
    return self_prompt(
        probability,
        torch.ones_like(probability),
        plane(*probability.shape),
        size,
        SelfPromptConfig(**config),  # pyright: ignore[reportArgumentType]
    )


def rectangle(x0: int, y0: int, x1: int, y1: int) -> Tensor:
    probability = torch.zeros(HEIGHT, WIDTH)
    probability[y0 : y1 + 1, x0 : x1 + 1] = 1
    return probability


def test_nothing_certain_gives_no_prompt() -> None:
    assert prompt_of(torch.full((HEIGHT, WIDTH), 0.69)) is None
    assert prompt_of(torch.zeros(HEIGHT, WIDTH)) is None


def test_box_is_the_masks_own_at_full_size() -> None:
    prompt = prompt_of(rectangle(10, 5, 19, 14), size=(2 * WIDTH, 2 * HEIGHT), box_padding=0.0)
    assert prompt is not None
    np.testing.assert_array_equal(prompt.box, [20, 10, 39, 29])


def test_points_lie_where_their_labels_say() -> None:
    probability = rectangle(10, 5, 29, 24)
    prompt = prompt_of(probability)
    assert prompt is not None
    assert set(prompt.point_labels) == {0, 1}
    for (x, y), label in zip(prompt.point_coords.astype(int), prompt.point_labels, strict=True):
        assert probability[y, x] == label


def test_first_point_is_the_middle_of_the_object() -> None:
    prompt = prompt_of(rectangle(10, 5, 20, 15))
    assert prompt is not None
    np.testing.assert_allclose(prompt.point_coords[0], [15, 10], atol=1)


def test_points_spread_by_metric_distance_not_by_pixels() -> None:
    """Two plates touch in the image; one is far behind: the second point goes there."""
    probability = rectangle(5, 5, 34, 24)
    points = plane()
    points[:, 20:, 2] = 500.0
    prompt = self_prompt(
        probability, torch.ones_like(probability), points, (WIDTH, HEIGHT), SelfPromptConfig()
    )
    assert prompt is not None
    first, second = prompt.point_coords[:2, 0]
    assert (first < 20) != (second < 20)


def test_decay_is_by_3d_distance_hand_computed() -> None:
    """A thin bar, ``spread`` of 1 object size: the second point is at the far end."""
    probability = rectangle(2, 10, 37, 12)
    prompt = prompt_of(probability, spread=1.0, positive_points=2, negative_points=0)
    assert prompt is not None
    gap = abs(prompt.point_coords[0, 0] - prompt.point_coords[1, 0])
    assert gap >= 12


def test_unvoted_pixels_give_no_background_points() -> None:
    probability = rectangle(15, 10, 24, 19)
    known = torch.zeros_like(probability)
    known[:, :15] = 1
    prompt = self_prompt(probability, known, plane(), (WIDTH, HEIGHT), SelfPromptConfig())
    assert prompt is not None
    negative = prompt.point_coords[prompt.point_labels == 0]
    assert len(negative) > 0
    assert (negative[:, 0] < 15).all()


def test_logits_keep_the_masks_shape() -> None:
    logits = probability_to_logits(rectangle(0, 0, 19, 29))
    assert logits.shape == (256, 256)
    assert (logits[:, :120] > 0).all()
    assert (logits[:, 136:] < 0).all()
    assert np.isfinite(logits).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_prompts_always_lie_inside_the_image(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, 4, 5, generator=generator)
    probability = torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bilinear")[0, 0]
    prompt = prompt_of(probability, size=(97, 61))
    if prompt is None:
        assert float(probability.max()) < SelfPromptConfig().positive_threshold
        return
    x0, y0, x1, y1 = prompt.box
    assert 0 <= x0 <= x1 <= 96
    assert 0 <= y0 <= y1 <= 60
    assert (prompt.point_coords >= 0).all()
    assert (prompt.point_coords[:, 0] <= 96).all()
    assert (prompt.point_coords[:, 1] <= 60).all()
