"""Events of the loop, as frozen dataclasses: for progress bars, viewers and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["prompted", "accepted", "rejected", "held out", "unseen", "no prompt"]
"""Outcome of a view's visit.

- "prompted": the user prompted the view; it votes.
- "accepted": its mask passed the gate; it votes.
- "rejected": its mask agrees too little with the other views; no vote.
- "held out": its mask is measured; it never votes.
- "unseen": the rendered mask is empty.
- "no prompt": no pixel of the rendered mask is certain enough for a self-prompt.
"""


@dataclass(frozen=True)
class RoundStarted:
    """A round over the views begins.

    Attributes:
        round: number of the round, from 1; 0 for the visit of the prompted views.
        views: number of views still to visit in this round.
    """

    object: str
    round: int
    views: int


@dataclass(frozen=True)
class ViewDone:
    """One view of one object was visited.

    Attributes:
        agreement: IoU of the view's mask and the mask rendered from the other views' votes.
        score: the mask's predicted IoU.
        reason: the reason for the outcome, in words.
    """

    object: str
    round: int
    view: str
    outcome: Outcome
    agreement: float
    score: float
    reason: str


@dataclass(frozen=True)
class RoundDone:
    """A round ended.

    Attributes:
        flips: number of elements that became object or background in this round.
        labelled: number of the object's elements after the round.
        accepted, rejected: number of views with this outcome.
        agreement: mean agreement of the accepted views.
        unvoted_agreement: mean agreement of the held-out views; None if there are none.
        best_agreement: best-tenth agreement of accepted and held-out views; 0 in old saved
            results, which lack this number.
        prompt_agreement: mean agreement of the prompted views with all other views.
        changed_views: number of views that began or ceased to vote; in a correction, of those whose
            outcome or mask changed.
        seconds: duration of the round.
    """

    object: str
    round: int
    flips: int
    labelled: int
    accepted: int
    rejected: int
    agreement: float
    unvoted_agreement: float | None
    prompt_agreement: float
    changed_views: int
    seconds: float
    best_agreement: float = 0.0


@dataclass(frozen=True)
class Finished:
    """The loop of one object finished.

    Attributes:
        converged: False if the loop stopped at the limit of rounds.
        rounds: number of rounds.
        chosen_round: the round that was kept, from 1; 0 for the lifted object.
        verdict: the outcome in one sentence.
    """

    object: str
    converged: bool
    rounds: int
    chosen_round: int
    verdict: str


Event = RoundStarted | ViewDone | RoundDone | Finished
