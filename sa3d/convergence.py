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
    min_prompt_agreement: float = 0.8
    """Where the other views agree less than this (IoU) with what the user marked, they have found
    something else: what the prompted views alone lifted is the answer."""


def is_converged(rounds: Sequence[RoundDone], config: ConvergenceConfig) -> bool:
    """Whether the last round changed (almost) nothing.

    Few labels flipped, and no view went between accepted and rejected.
    """
    if not rounds:
        return False
    last = rounds[-1]
    few_flips = last.flips <= config.flip_tolerance * max(last.labelled, 1)
    return few_flips and last.changed_views == 0


def best_round(rounds: Sequence[RoundDone], config: ConvergenceConfig) -> int:
    """Number of the round to answer with, 0 for what the prompted views lifted.

    The latest unless an earlier one agrees clearly more, judged by views that had no say: the
    held-out ones, and the user's own masks against what all the other views render there. A loop
    that drifts disagrees with them more from round to round; one that lost the user's object
    altogether is not believed at all.
    """

    def trust(number: int) -> float:
        done = rounds[number - 1]
        unvoted = done.agreement if done.unvoted_agreement is None else done.unvoted_agreement
        return unvoted + done.prompt_agreement

    last = len(rounds)
    if last == 0:
        return 0
    best = max(range(1, last + 1), key=lambda number: (trust(number), number))
    chosen = best if trust(best) - trust(last) > CLEARLY else last
    lost = rounds[chosen - 1].prompt_agreement < config.min_prompt_agreement
    return 0 if lost else chosen


def verdict(rounds: Sequence[RoundDone], chosen: int, converged: bool) -> str:
    """The outcome of a loop in words; ``chosen`` as from :func:`best_round`."""
    if not rounds:
        return "lifted from the prompted views alone"
    how = "converged" if converged else "stopped at the limit, not converged,"
    text = f"{how} after {len(rounds)} round{'s' if len(rounds) > 1 else ''}"
    if chosen == 0:
        lost = max(done.prompt_agreement for done in rounds)
        return (
            f"{text}, but the other views found something else than what was marked (IoU"
            f" {lost:.2f} at best): only what the prompted views show is kept; prompt another view"
        )
    kept = rounds[chosen - 1]
    if chosen < len(rounds):
        text += f"; round {kept.round} kept, later ones agreed less"
    if kept.unvoted_agreement is not None:
        text += f"; agreement on unvoted views {kept.unvoted_agreement:.2f}"
    if kept.rejected:
        text += f"; {kept.rejected} view{'s' if kept.rejected > 1 else ''} rejected"
    return text
