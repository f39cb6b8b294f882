"""Settings of the loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from sa3d.base.ranges import NOT_NEGATIVE, POSITIVE, SHARE, Checked, Within
from sa3d.voting.config import SelfPromptConfig


@dataclass
class ConvergenceConfig(Checked, place="loop.convergence"):
    """Settings that end the rounds."""

    max_rounds: Annotated[int, NOT_NEGATIVE] = 6
    """Number of rounds over all views, at most. With 0 the lifted object is the result."""
    flip_tolerance: Annotated[float, Within(-1, 1)] = 0.01
    """The loop has converged when a round changes less than this share of the object's elements;
    below 0 all rounds are done."""
    min_best_agreement: Annotated[float, SHARE] = 0.94
    """If the best-tenth agreement (IoU) is below this, no common object was found, and the lifted
    object is the result. The mean is not used: it falls where the segmenter errs in some views
    although the votes are right (docs/robustness.md)."""
    min_prompt_agreement: Annotated[float, SHARE] = 0.5
    """If the other views agree less than this (IoU) with the prompted views' masks, the lifted
    object is the result."""
    warn_agreement: Annotated[float, SHARE] = 0.75
    """The verdict names views whose agreement is below this."""
    warn_outside: Annotated[float, SHARE] = 0.15
    """If more than this share of an object lies outside the prompted photos, the verdict warns: no
    user has confirmed that part, and agreement does not measure it (docs/stop.md)."""


@dataclass
class LoopConfig(Checked, place="loop"):
    """Settings of the loop."""

    min_agreement: Annotated[float, SHARE] = 0.5
    """A view's mask is accepted only if its agreement (IoU) with the other views reaches this."""
    agreement_weight: Annotated[float, NOT_NEGATIVE] = 0.25
    """Weight of a candidate mask's agreement; its predicted IoU has the weight 1."""
    lam: Annotated[float, POSITIVE] = 1.0
    """SA3D's lambda: an element is object where its evidence share exceeds lambda/(1+lambda)."""
    prior: Annotated[float, SHARE] = 0.5
    """Evidence share of an element without votes. With a smaller value, parts that the
    first view did not see get no prompts (measured, see docs/adr/0003)."""
    prior_weight: Annotated[float, POSITIVE] = 0.05
    """Weight of the prior in the result, in units of one fully lit pixel of evidence."""
    prompt_prior_weight: Annotated[float, POSITIVE] = 1.0
    """Weight of the prior while the loop runs. It is larger, so that self-prompts do not rely on
    votes of only one or two views (measured, see docs/adr/0003)."""
    reach: Annotated[float, NOT_NEGATIVE] = 1.0
    """Elements farther from the lifted object than this share of its size start as background."""
    max_gap: Annotated[float, NOT_NEGATIVE] = 0.3
    """Neighbouring pixels farther apart in 3D than this share of the lifted object's size are not
    connected, so a thing that touches the object only in the image is not part of the object."""
    user_confidence: Annotated[float, NOT_NEGATIVE] = 4.0
    """Confidence of a view prompted by the user; that of a self-prompted view is at most 1."""
    correction_confidence: Annotated[float, NOT_NEGATIVE] = 100.0
    """Confidence of a user's correction where it contradicts all other views, to outweigh them."""
    neighbours: Annotated[int, NOT_NEGATIVE] = 4
    """Number of views visited again near each corrected view and each view whose mask changed."""
    inertia: Annotated[float, Within(-1, 1)] = 0.03
    """A new mask replaces the mask that a view voted for only if it agrees better by this; below 0
    also if it agrees a little worse."""
    held_out: Annotated[float, SHARE] = 0.1
    """Share of the views that are held out: segmented and measured, but without a vote."""
    appearance_views: Annotated[int, NOT_NEGATIVE] = 8
    """Number of accepted views from which a segmenter without weights learns the object's
    appearance; 0 for none."""
    prompting: SelfPromptConfig = field(default_factory=SelfPromptConfig)
    convergence: ConvergenceConfig = field(default_factory=ConvergenceConfig)
