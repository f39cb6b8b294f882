"""How sure we are: from an element's evidence to the probability that it is object.

The evidence share ``F / T`` says how the views voted, not how often such a vote is right. The map from
evidence for (``F``) and against (``A = T - F``) to a probability is logistic, with three constants,

    logit p = offset + slope * log((F + pseudo) / (A + pseudo)),

monotone in both. With ``offset`` 0 and ``slope`` 1 it is the mean of a Beta posterior, and the evidence share with
prior 0.5 and weight ``2 pseudo``. An element nobody voted on has the probability ``1 / (1 + exp(-offset))``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sa3d.inverse_rendering import Evidence
from sa3d.mask_rendering import render_share
from sa3d.scene import Scene
from sa3d.segmentation import Segmentation


@dataclass(frozen=True)
class Calibration:
    """The three constants; ``pseudo`` is in units of one fully lit pixel."""

    pseudo: float
    slope: float
    offset: float

    def probability(self, evidence: Evidence) -> Tensor:
        """Probability that an element is object, [N] in (0, 1)."""
        against = (evidence.total - evidence.object).clamp_min(0)
        odds = (evidence.object + self.pseudo) / (against + self.pseudo)
        return torch.sigmoid(self.offset + self.slope * odds.log())


FITTED = Calibration(pseudo=0.01, slope=2.0, offset=0.0)
"""Found by ``scripts/measure_uncertainty.py`` on generated scenes; see docs/uncertainty.md."""


def calibrated_probability(
    segmentation: Segmentation, name: str, calibration: Calibration = FITTED
) -> Tensor:
    """Probability that an element belongs to an object, [N].

    Raises:
        SA3DError: no such object.
    """
    return calibration.probability(segmentation.object(name).evidence)


def rendered_certainty(scene: Scene, probability: Tensor, view_index: int) -> Tensor:
    """Element probabilities [N] as a view sees them, [h, w] at operator resolution."""
    prepared = scene.prepared(view_index)
    rendered = render_share(prepared.operator, probability)
    return rendered.reshape(prepared.camera.height, prepared.camera.width).cpu()


def entropy(probability: Tensor) -> Tensor:
    """Uncertainty in bits: 1 at a probability of 0.5, 0 where it is 0 or 1."""
    p = probability.clamp(1e-7, 1 - 1e-7)
    return -(p * p.log2() + (1 - p) * (1 - p).log2())
