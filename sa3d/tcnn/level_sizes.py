"""Sizes of the levels of a hash grid.

The number of entries of a level follows from its scale, a float32 that is computed with the GPU's
approximate ``exp2``. Where the scale is (almost) a whole number, one unit in its last place decides
about a whole layer of entries, and GPUs and compilers differ (tiny-cuda-nn, issue 148). The length
of the parameter vector tells which size was used, so all rules are tried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sa3d.base.errors import SA3DError, shown
from sa3d.tcnn.config_values import check_keys, one_of, whole_number

RULES = ("computed", "snapped", "raised")
"""Rules for scales that are almost whole: as computed here, the whole number, and just above it."""
_ALMOST = 4
"""Units in the last place of a scale that is almost a whole number."""


@dataclass(frozen=True)
class HashGridConfig:
    """Options of a hash grid over three dimensions.

    Attributes:
        levels: number of levels.
        features: number of features of an entry.
        log2_table_size: a level has at most 2 to this power entries.
        base_resolution: cells along an axis of the first level, nearly.
        growth: ratio of the scales of one level and the level before it.
        smooth: True if weights are smoothed by ``w^2 (3 - 2 w)``.
    """

    levels: int
    features: int
    log2_table_size: int
    base_resolution: int
    growth: float
    smooth: bool

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> HashGridConfig:
        """Read tiny-cuda-nn's own configuration, with its defaults.

        Raises:
            SA3DError: an option is unknown, not supported or out of range.
        """
        check_keys(
            config,
            (
                *("otype", "n_levels", "n_features_per_level", "log2_hashmap_size"),
                *("base_resolution", "per_level_scale", "interpolation"),
            ),
            "a hash grid",
        )
        one_of(config, "otype", "HashGrid", ("HashGrid",))
        growth = config.get("per_level_scale", 2.0)
        if not isinstance(growth, (int, float)) or not 1 <= growth < math.inf:
            raise SA3DError(
                f"'per_level_scale' of tiny-cuda-nn must be at least 1, is {shown(growth)}"
            )
        interpolation = one_of(config, "interpolation", "Linear", ("Linear", "Smoothstep"))
        return cls(
            levels=whole_number(config, "n_levels", 16, 1, 128),
            features=whole_number(config, "n_features_per_level", 2, 1, 8),
            log2_table_size=whole_number(config, "log2_hashmap_size", 19, 0, 31),
            base_resolution=whole_number(config, "base_resolution", 16, 1, 1 << 20),
            growth=float(growth),
            smooth=interpolation == "Smoothstep",
        )

    @property
    def outputs(self) -> int:
        """Number of encoded values of a point: the features of all levels."""
        return self.levels * self.features


@dataclass(frozen=True)
class GridLevel:
    """One level of a hash grid.

    Attributes:
        scale: factor from coordinates in [0, 1] to cells.
        resolution: corners along an axis.
        offset: number of entries of all levels before this one.
        entries: number of entries.
    """

    scale: float
    resolution: int
    offset: int
    entries: int

    @property
    def dense(self) -> bool:
        """True if each corner has an entry of its own; else corners share entries by a hash."""
        return self.resolution**3 <= self.entries


def grid_levels(config: HashGridConfig, rule: str = "computed") -> tuple[GridLevel, ...]:
    """Return the levels of a hash grid; every step is rounded to float32, as on the GPU.

    ``scale_l = 2^(l log2 growth) base - 1`` and ``resolution_l = ceil(scale_l) + 1``. The number of
    entries is ``resolution_l^3`` rounded up to a multiple of 8, but at most the table size.

    Args:
        config: options of the grid.
        rule: for scales that are almost a whole number, one of ``RULES``.

    Source: tiny-cuda-nn, ``grid_scale`` and ``grid_resolution`` in ``common_device.h``.
    """
    log2_growth = np.float32(np.log2(np.float64(np.float32(config.growth))))
    levels: list[GridLevel] = []
    offset = 0
    for level in range(config.levels):
        exponent = np.float32(level) * log2_growth
        power = np.float64(np.float32(np.exp2(np.float64(exponent))))
        scale = np.float32(power * config.base_resolution - 1)
        if level:  # the first one is exact everywhere
            scale = _ruled(scale, rule)
        resolution = math.ceil(scale) + 1
        corners = -(-(resolution**3) // 8) * 8
        entries = min(corners, 1 << config.log2_table_size)
        levels.append(GridLevel(float(scale), resolution, offset, entries))
        offset += entries
    return tuple(levels)


def _ruled(scale: np.float32, rule: str) -> np.float32:
    whole = np.float32(np.round(scale))
    if rule == "computed" or abs(scale - whole) > _ALMOST * np.spacing(whole):
        return scale
    return whole if rule == "snapped" else np.nextafter(whole, np.float32(np.inf))


def parameter_count(levels: tuple[GridLevel, ...], features: int) -> int:
    """Return the length of a hash grid's parameter vector."""
    return (levels[-1].offset + levels[-1].entries) * features


def possible_levels(config: HashGridConfig) -> dict[int, tuple[GridLevel, ...]]:
    """Return the levels under each rule, by the length of the parameter vector.

    Where two rules give the same length, the first one is kept.
    """
    found: dict[int, tuple[GridLevel, ...]] = {}
    for rule in RULES:
        levels = grid_levels(config, rule)
        found.setdefault(parameter_count(levels, config.features), levels)
    return found
