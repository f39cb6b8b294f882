"""The settings of the loop, all in one place."""

from __future__ import annotations

from dataclasses import dataclass, field

from sa3d.base.errors import SA3DError
from sa3d.base.ranges import NOT_NEGATIVE, SHARE, check_ranges
from sa3d.voting.config import SelfPromptConfig


@dataclass
class ConvergenceConfig:
    """Settings that end the rounds."""

    max_rounds: int = 6
    """Rounds over all views, at most; 0: what the prompted views lift is the answer."""
    flip_tolerance: float = 0.01
    """Converged when a round changes fewer than this share of the labelled elements."""
    min_best_agreement: float = 0.94
    """Where not even the best tenth of the views agrees so well (IoU) with the others, no common
    object was found: what the prompted views lifted is the answer. Not the mean, which falls where
    the segmenter errs in some of the views although the votes are right (docs/robustness.md)."""
    min_prompt_agreement: float = 0.5
    """The same where the others agree less than this (IoU) with the user's own masks."""
    warn_agreement: float = 0.75
    """Views whose mask agrees less than this with the others are named in the verdict."""
    warn_outside: float = 0.15
    """The verdict says so where more than this share of an object lies outside the pictures it was
    marked in: what is there nobody has confirmed, and agreement does not tell (docs/stop.md)."""

    def __post_init__(self) -> None:
        """Refuse values that make no sense.

        Raises:
            SA3DError: naming the value, and what it may be.
        """
        check_ranges(
            "loop.convergence",
            self,
            max_rounds=NOT_NEGATIVE,
            min_best_agreement=NOT_NEGATIVE,
            min_prompt_agreement=SHARE,
            warn_agreement=SHARE,
            warn_outside=SHARE,
        )


@dataclass
class LoopConfig:
    """Settings of the loop."""

    min_agreement: float = 0.5
    """A view's mask counts only if its IoU with the mask rendered from the other views is this."""
    agreement_weight: float = 0.25
    """Weight of a candidate mask's IoU with the other views beside its predicted IoU."""
    lam: float = 1.0
    """SA3D's lambda: an element is object where its evidence share exceeds lambda/(1+lambda)."""
    prior: float = 0.5
    """Evidence share of an element nobody has voted on: undecided. Less starves the prompts of
    parts the first view did not see (measured, see docs/adr/0003)."""
    prior_weight: float = 0.05
    """Weight of the prior in the result, in units of one fully lit pixel of evidence."""
    prompt_prior_weight: float = 1.0
    """The same while the loop runs. More: what one or two views have said stays in doubt, in the
    prompts of the next ones, until more views say it (measured, see docs/adr/0003)."""
    reach: float = 1.0
    """Elements further from the lifted object than this share of its size start as background."""
    max_gap: float = 0.3
    """Neighbouring pixels further apart in 3D than this share of the lifted object's size are not
    connected: what touches the object in a picture only is no part of it."""
    user_confidence: float = 4.0
    """Confidence of a view prompted by the user, beside 1 of a self-prompted one."""
    correction_confidence: float = 100.0
    """The same where a user's click corrected what all other views said: it outweighs them."""
    neighbours: int = 4
    """Views asked again around a corrected one; and around each of them whose mask changed."""
    inertia: float = 0.03
    """A view's mask is replaced only by one whose IoU with the other views is this much better."""
    held_out: float = 0.1
    """Share of the views that is segmented but never votes: it measures, it does not decide."""
    appearance_views: int = 8
    """Accepted views a segmenter without weights learns the object's appearance from; 0: none."""
    prompting: SelfPromptConfig = field(default_factory=SelfPromptConfig)
    convergence: ConvergenceConfig = field(default_factory=ConvergenceConfig)

    def __post_init__(self) -> None:
        """Refuse values that make no sense.

        Raises:
            SA3DError: naming the value, and what it may be.
        """
        check_ranges(
            "loop",
            self,
            min_agreement=SHARE,
            agreement_weight=NOT_NEGATIVE,
            prior=SHARE,
            prior_weight=NOT_NEGATIVE,
            prompt_prior_weight=NOT_NEGATIVE,
            reach=NOT_NEGATIVE,
            max_gap=NOT_NEGATIVE,
            user_confidence=NOT_NEGATIVE,
            correction_confidence=NOT_NEGATIVE,
            neighbours=NOT_NEGATIVE,
            held_out=SHARE,
            appearance_views=NOT_NEGATIVE,
        )
        if not self.lam > 0:
            raise SA3DError(f"'loop.lam' must be above 0, is {self.lam}")
