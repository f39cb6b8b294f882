"""What the loop tells: frozen events, one kind for progress bars, viewers and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["prompted", "accepted", "rejected", "held out", "unseen", "no prompt"]
"""What became of a view: given by the user, voted, refused by the gate, kept from voting as a
check, object not in it, or nothing certain enough to prompt with."""


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
        unvoted_agreement: the same over held-out views, which never vote; None if there are none.
        best_agreement: what the best tenth of both reaches; 0 in results that were saved before it
            was measured.
        prompt_agreement: IoU of the user's own masks with what all other views say there.
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
    prompt_agreement: float
    changed_views: int
    seconds: float
    best_agreement: float = 0.0


@dataclass(frozen=True)
class Finished:
    """The loop stopped for one object; ``converged`` is False when a limit ended it.

    ``chosen_round`` counts from 1; 0 is what the prompted views lifted.
    """

    object: str
    converged: bool
    rounds: int
    chosen_round: int
    verdict: str


Event = RoundStarted | ViewDone | RoundDone | Finished
