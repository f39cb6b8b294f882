"""When to stop, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sa3d.events import RoundDone


@dataclass
class ConvergenceConfig:
    """When the rounds end."""

    max_rounds: int = 6
    """Rounds over all views, at most."""
    flip_tolerance: float = 0.01
    """Converged when a round changes fewer than this share of the labelled elements."""


def is_converged(rounds: Sequence[RoundDone], config: ConvergenceConfig) -> bool:
    """Whether the last round changed (almost) nothing.

    Few labels flipped, and no view went between accepted and rejected.
    """
    if not rounds:
        return False
    last = rounds[-1]
    few_flips = last.flips <= config.flip_tolerance * max(last.labelled, 1)
    return few_flips and last.changed_views == 0


def best_round(rounds: Sequence[RoundDone]) -> int:
    """Position of the round whose views agree most, the latest among equals.

    A drifting loop is never answered with a result that agrees less than an earlier one.
    """
    return max(range(len(rounds)), key=lambda i: (round(rounds[i].agreement, 3), i))
