"""What the loop tells: frozen events, the same for a progress bar, a viewer, a test, a batch job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["prompted", "accepted", "rejected", "unseen", "no prompt"]
"""What became of a view: given by the user, voted, refused by the gate, object not in it, or
nothing certain enough to prompt with."""


@dataclass(frozen=True)
class RoundStarted:
    """A round over the views begins (``round`` counts from 1; round 0 is the user's own views)."""

    object: str
    round: int
    views: int


@dataclass(frozen=True)
class ViewDone:
    """One view of one object was visited.

    Attributes:
        agreement: IoU between the view's mask and the mask rendered from the *other* views.
        score: the segmenter's predicted IoU.
        reason: why, in words.
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
        flips: elements whose label changed in this round.
        labelled: elements labelled object after it.
        agreement: mean over accepted views of the IoU between the view's mask and the others'.
        unvoted_agreement: the same over views that did not vote; None if all voted.
        changed_views: views that went between accepted and rejected.
        seconds: of the round.
    """

    object: str
    round: int
    flips: int
    labelled: int
    accepted: int
    rejected: int
    agreement: float
    unvoted_agreement: float | None
    changed_views: int
    seconds: float


@dataclass(frozen=True)
class Finished:
    """The loop stopped for one object; ``converged`` is False when a limit ended it."""

    object: str
    converged: bool
    rounds: int
    chosen_round: int
    verdict: str


Event = RoundStarted | ViewDone | RoundDone | Finished
