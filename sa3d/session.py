"""The loop: prompts in, events out. Self-prompt, segment, gate, vote; view after view, round after
round, until the 3D segmentation has converged."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sa3d.convergence import ConvergenceConfig, is_converged
from sa3d.errors import SA3DError
from sa3d.events import Event, Finished, Outcome, RoundDone, RoundStarted, ViewDone
from sa3d.inverse_rendering import Evidence, Vote
from sa3d.mask_rendering import RenderedMask, render_mask
from sa3d.prompts import Prompt
from sa3d.scene import Scene
from sa3d.segmenter import LearnsAppearance, MaskPrediction, PromptableSegmenter
from sa3d.self_prompting import SelfPromptConfig, self_prompt
from sa3d.view_schedule import outward_order


@dataclass
class SessionConfig:
    """How the loop decides."""

    min_agreement: float = 0.5
    """A view's mask counts only if its IoU with the mask rendered from the other views is this."""
    lam: float = 1.0
    """SA3D's lambda: an element is object where its evidence share exceeds lambda/(1+lambda)."""
    prior: float = 0.3
    """Evidence share of an element nobody has voted on, between background (0) and undecided."""
    prior_weight: float = 0.05
    """How much evidence outweighs the prior, in units of one fully lit pixel."""
    appearance_views: int = 8
    """Accepted views a segmenter without weights learns the object's appearance from."""
    prompting: SelfPromptConfig = field(default_factory=SelfPromptConfig)
    convergence: ConvergenceConfig = field(default_factory=ConvergenceConfig)


@dataclass
class ViewState:
    """What one view says about one object at present."""

    outcome: Outcome
    mask: np.ndarray
    vote: Vote | None
    agreement: float
    score: float
    appearance: np.ndarray | None = None
