"""Flood fill over a depth map with a step."""

from __future__ import annotations

import torch

from sa3d.surfaces.connected_surface import connected_surface

WIDTH = 10
STEP = torch.arange(WIDTH) >= 6


def points(step: float) -> torch.Tensor:
    """A plate of 3 x 10 pixels, one unit a pixel, that steps back at column 6."""
    y, x = torch.meshgrid(torch.arange(3), torch.arange(WIDTH), indexing="ij")
    return torch.stack([x, y, STEP.expand(3, -1) * step], dim=-1).float()


def seed_at(column: int) -> torch.Tensor:
    seeds = torch.zeros(3, WIDTH, dtype=torch.bool)
    seeds[1, column] = True
    return seeds


def test_a_depth_step_ends_the_surface() -> None:
    mask = torch.ones(3, WIDTH, dtype=torch.bool)
    filled = connected_surface(mask, seed_at(0), points(5.0), max_gap=2.0)
    assert torch.equal(filled, ~STEP.expand(3, -1))


def test_a_small_step_does_not() -> None:
    mask = torch.ones(3, WIDTH, dtype=torch.bool)
    assert connected_surface(mask, seed_at(0), points(1.0), max_gap=2.0).all()


def test_a_gap_in_the_mask_ends_it_too() -> None:
    mask = torch.ones(3, WIDTH, dtype=torch.bool)
    mask[:, 4] = False
    filled = connected_surface(mask, seed_at(0), points(0.0), max_gap=2.0)
    assert filled[:, :4].all()
    assert not filled[:, 4:].any()


def test_seeds_outside_the_mask_fill_nothing() -> None:
    mask = torch.zeros(3, WIDTH, dtype=torch.bool)
    assert not connected_surface(mask, seed_at(0), points(0.0), max_gap=2.0).any()
