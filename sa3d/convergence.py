"""When to stop, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sa3d.events import RoundDone

CLEARLY = 0.01
"""Differences of summed agreements below this are noise."""


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
    """Position of the round to answer with, the latest unless an earlier one agrees clearly more.

    Judged by views that had no say: the held-out ones, and the user's own masks against what all
    the other views render there. A loop that drifts disagrees with them more from round to round.
    """

    def trust(position: int) -> float:
        done = rounds[position]
        unvoted = done.agreement if done.unvoted_agreement is None else done.unvoted_agreement
        return unvoted + done.prompt_agreement

    best = max(range(len(rounds)), key=lambda i: (trust(i), i))
    last = len(rounds) - 1
    return best if trust(best) - trust(last) > CLEARLY else last


def verdict(rounds: Sequence[RoundDone], chosen: int, converged: bool) -> str:
    """The outcome of a loop in words."""
    if not rounds:
        return "lifted from the prompted views alone"
    kept = rounds[chosen]
    how = "converged" if converged else "stopped at the limit, not converged,"
    text = f"{how} after {len(rounds)} round{'s' if len(rounds) > 1 else ''}"
    if chosen < len(rounds) - 1:
        text += f"; round {kept.round} kept, later ones agreed less"
    if kept.unvoted_agreement is not None:
        text += f"; agreement on unvoted views {kept.unvoted_agreement:.2f}"
    if kept.rejected:
        text += f"; {kept.rejected} view{'s' if kept.rejected > 1 else ''} rejected"
    return text
