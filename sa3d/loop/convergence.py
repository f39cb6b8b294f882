"""When to stop, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sa3d.loop.config import ConvergenceConfig
from sa3d.objects.events import RoundDone

TRUST_NOISE = 0.005
"""Differences of trust below this are noise."""


def is_converged(rounds: Sequence[RoundDone], config: ConvergenceConfig) -> bool:
    """Whether the last round changed (almost) nothing.

    Few labels flipped, and no view went between accepted and rejected.
    """
    if not rounds:
        return False
    last = rounds[-1]
    few_flips = last.flips <= config.flip_tolerance * max(last.labelled, 1)
    return few_flips and last.changed_views == 0


def trust(done: RoundDone) -> float:
    """How far to believe a round, in [0, 1], judged by views that had no say.

    The mean of how well the held-out views agree with the others, and the others with the user's
    own masks. A loop that drifts disagrees with them more from round to round.
    """
    unvoted = done.agreement if done.unvoted_agreement is None else done.unvoted_agreement
    return (unvoted + done.prompt_agreement) / 2


def best_tenth(agreements: Sequence[float]) -> float:
    """What the best tenth of some agreements reaches; 0 if there are none."""
    return float(np.quantile(agreements, 0.9)) if agreements else 0.0


def best_round(rounds: Sequence[RoundDone], config: ConvergenceConfig) -> int:
    """Number of the round to answer with, 0 for what the prompted views lifted.

    The latest, unless an earlier one is trusted clearly more; none where that one found no common
    object, or has lost the user's altogether.
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
    """The outcome of a loop in words.

    Args:
        chosen: as from ``best_round``.
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


def doubtful_views(trusted: Mapping[str, float], config: ConvergenceConfig, most: int = 3) -> str:
    """A sentence that names the views whose masks the others bear out least; empty if none.

    Args:
        trusted: IoU with the other views, by view name.
        most: so many are named.
    """
    doubtful = sorted((v, name) for name, v in trusted.items() if v < config.warn_agreement)
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
    """A remark where much of an object lies outside the pictures it was marked in; else empty.

    Args:
        share: of the object, in [0, 1].
    """
    if share <= config.warn_outside:
        return ""
    return f"{share:.0%} of it lies outside the pictures it was marked in: mark it in one more"
