"""Convergence of the rounds, the choice of the best round, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sa3d.loop.config import ConvergenceConfig
from sa3d.objects.events import RoundDone

TRUST_NOISE = 0.005
"""Differences of trust below this are noise."""


def is_converged(rounds: Sequence[RoundDone], config: ConvergenceConfig) -> bool:
    """Return whether the last round changed almost nothing.

    Few labels flipped, and no view began or ceased to vote. Other outcomes may change: a view that
    is now unseen and now without a self-prompt does not vote, and changes nothing.
    """
    if not rounds:
        return False
    last = rounds[-1]
    few_flips = last.flips <= config.flip_tolerance * max(last.labelled, 1)
    return few_flips and last.changed_views == 0


def trust(done: RoundDone) -> float:
    """Return how far a round is believed, in [0, 1].

    Trust is the mean of the held-out agreement and the agreement with the prompted views' masks.
    Both fall from round to round in a loop that drifts away from the object.
    """
    unvoted = done.agreement if done.unvoted_agreement is None else done.unvoted_agreement
    return (unvoted + done.prompt_agreement) / 2


def best_tenth(agreements: Sequence[float]) -> float:
    """Return the 0.9 quantile of agreements; 0 if there are none."""
    return float(np.quantile(agreements, 0.9)) if agreements else 0.0


def best_round(rounds: Sequence[RoundDone], config: ConvergenceConfig) -> int:
    """Return the number of the round to keep, from 1; 0 for the lifted object.

    The latest round is kept, unless an earlier round has clearly more trust. If the views of the
    kept round found no common object, or lost the user's object, the lifted object is kept.
    """
    if not rounds:
        return 0
    chosen = _most_trusted(rounds)
    kept = rounds[chosen - 1]
    common = kept.best_agreement >= config.min_best_agreement
    return chosen if common and kept.prompt_agreement >= config.min_prompt_agreement else 0


def _most_trusted(rounds: Sequence[RoundDone]) -> int:
    last = len(rounds)
    best = max(range(1, last + 1), key=lambda number: (trust(rounds[number - 1]), number))
    clearly = trust(rounds[best - 1]) - trust(rounds[-1]) > TRUST_NOISE
    return best if clearly else last


def verdict(rounds: Sequence[RoundDone], chosen: int, converged: bool) -> str:
    """Describe the outcome of a loop in one sentence.

    Args:
        chosen: the round to keep, from ``best_round``.
        converged: whether the loop converged; otherwise it stopped at the limit of rounds.
    """
    if not rounds:
        return "lifted from the prompted views alone"
    how = "converged" if converged else "stopped at the limit, not converged,"
    text = f"{how} after {len(rounds)} round{'s' if len(rounds) > 1 else ''}"
    if chosen == 0:
        judged = rounds[_most_trusted(rounds) - 1]
        if not judged.accepted and not judged.rejected and judged.unvoted_agreement is None:
            return f"{text}, but no other view shows what was marked so far: prompt another view"
        return (
            f"{text}, but the views found something else than what was marked (the best tenth of"
            f" them agrees {judged.best_agreement:.2f} with the others, all of them"
            f" {judged.prompt_agreement:.2f} with the prompt): only what the prompted views show is"
            " kept; prompt another view"
        )
    kept = rounds[chosen - 1]
    if chosen < len(rounds):
        text += f"; round {kept.round} kept, later ones agreed less"
    if kept.rejected:
        text += f"; {kept.rejected} view{'s' if kept.rejected > 1 else ''} rejected"
    return text


def doubtful_views(
    agreements: Mapping[str, float], config: ConvergenceConfig, most: int = 3
) -> str:
    """Name the views with the lowest agreement in a sentence; empty if there are none.

    Args:
        agreements: by view name.
        most: the largest number of names.
    """
    doubtful = sorted((v, name) for name, v in agreements.items() if v < config.warn_agreement)
    names = [name for _, name in doubtful[:most]]
    if not names:
        return ""
    if len(names) == 1:
        return f"view {names[0]} disagrees: look at it"
    listed = ", ".join(names[:-1]) + f" and {names[-1]}"
    if len(doubtful) > most:
        return f"{len(doubtful)} views disagree, most of all {listed}: look at them"
    return f"views {listed} disagree: look at them"


def outside_note(share: float, config: ConvergenceConfig) -> str:
    """Return a remark if much of an object lies outside the prompted photos; else an empty string.

    Args:
        share: the share of the object that lies outside, in [0, 1].
    """
    if share <= config.warn_outside:
        return ""
    return f"{share:.0%} of it lies outside the photos it was marked in: mark it in one more"
