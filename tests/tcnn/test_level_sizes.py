from __future__ import annotations

import math

import pytest
import torch

from sa3d.tcnn.hash_grid import HashGrid
from sa3d.tcnn.level_sizes import HashGridConfig, grid_levels, parameter_count, possible_levels


def grid(max_resolution: int, **changes: int) -> HashGridConfig:
    """Return the options that Nerfstudio gives a grid of 16 levels."""
    growth = math.exp((math.log(max_resolution) - math.log(16)) / 15)
    values = {"levels": 16, "features": 2, "log2_table_size": 19, "base_resolution": 16}
    return HashGridConfig(**(values | changes), growth=growth, smooth=False)


@pytest.mark.parametrize(
    ("max_resolution", "with_network", "natural", "snapped"),
    [(512, 3072, 10526448, 10495120), (1024, 0, 11445040, 11420064)],
)
def test_both_lengths_that_gpus_have(
    max_resolution: int, with_network: int, natural: int, snapped: int
) -> None:
    """tiny-cuda-nn, issue 148: 10526448 numbers on one machine, 10495120 on another."""
    lengths = possible_levels(grid(max_resolution))
    assert {natural - with_network, snapped - with_network} <= set(lengths)


def test_the_length_chooses_the_resolutions() -> None:
    config = grid(512)
    for length, levels in possible_levels(config).items():
        module = HashGrid(config)
        module.load_state_dict({"params": torch.zeros(length)})
        assert module.sizes == levels
        assert len(module.params) == length
    counts = [parameter_count(levels, 2) for levels in possible_levels(config).values()]
    assert counts == list(possible_levels(config))


def test_another_length_is_refused_by_name() -> None:
    module = torch.nn.ModuleDict({"encoding": HashGrid(grid(512))})
    with pytest.raises(RuntimeError, match=r"encoding\.params has the shape \[12\].*10523376"):
        module.load_state_dict({"encoding.params": torch.zeros(12)})
    with pytest.raises(RuntimeError, match=r"encoding\.params has the shape \[2, 3\]"):
        module.load_state_dict({"encoding.params": torch.zeros(2, 3)})
    with pytest.raises(RuntimeError, match="Missing key"):
        module.load_state_dict({})


def test_sizes_by_hand() -> None:
    config = HashGridConfig(
        levels=3, features=2, log2_table_size=9, base_resolution=5, growth=2.0, smooth=False
    )
    first, second, third = grid_levels(config)
    assert (first.scale, first.resolution, first.offset, first.entries) == (4.0, 5, 0, 128)
    assert (second.resolution, second.offset, second.entries) == (10, 128, 512)
    assert (third.resolution, third.offset, third.entries) == (20, 640, 512)
    assert first.dense
    assert not second.dense


def test_whole_scales_are_raised_above_the_first_level_only() -> None:
    config = HashGridConfig(
        levels=2, features=1, log2_table_size=19, base_resolution=16, growth=2.0, smooth=False
    )
    natural, raised = grid_levels(config), grid_levels(config, "raised")
    assert [level.resolution for level in natural] == [16, 32]
    assert [level.resolution for level in raised] == [16, 33]
    assert grid_levels(config, "snapped") == natural
