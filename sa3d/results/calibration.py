"""How sure we are: from an element's evidence to the probability that it is object.

The evidence share ``F / T`` says how the views voted, not how often such a vote is right. The map
from evidence for (``F``) and against (``A = T - F``) to a probability is logistic,

    logit p = slope * log((F + pseudo) / (A + pseudo)),

monotone in both, and 0.5 for an element nobody voted on. With ``slope`` 1 it is the mean of a Beta
posterior: the evidence share with prior 0.5 and weight ``2 pseudo``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.segmentation import Segmentation
from sa3d.scene.scene import Scene
from sa3d.voting.mask_rendering import render_share


@dataclass(frozen=True)
class Calibration:
    """The two constants; ``pseudo`` is in units of one fully lit pixel."""

    pseudo: float
    slope: float

    def probability(self, evidence: Evidence) -> Tensor:
        """Probability that an element is object, [N] in (0, 1)."""
        against = (evidence.total - evidence.object).clamp_min(0)
        odds = (evidence.object + self.pseudo) / (against + self.pseudo)
        return torch.sigmoid(self.slope * odds.log())


FITTED = Calibration(pseudo=0.0123, slope=1.95)
"""Found by ``scripts/benchmarks/uncertainty.py`` on generated scenes; see docs/uncertainty.md."""


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


@dataclass(frozen=True)
class Reliability:
    """What was said and what was true, by bins of what was said; bins without weight are left out.

    Attributes:
        said: mean probability in each bin.
        true: share of true elements in it.
        weight: the bin's share of all weight.
    """

    said: np.ndarray
    true: np.ndarray
    weight: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error (Naeini et al. 2015): mean gap of what was said and true."""
        return float((self.weight * abs(self.said - self.true)).sum())

    @property
    def doubtful_error(self) -> float:
        """The same over the bins between 0.05 and 0.95 alone; 0 if there are none."""
        inner = (self.said > 0.05) & (self.said < 0.95)
        weight = self.weight[inner] / max(float(self.weight[inner].sum()), 1e-12)
        return float((weight * abs(self.said - self.true)[inner]).sum())


def reliability(probability: Tensor, truth: Tensor, weight: Tensor, bins: int = 15) -> Reliability:
    """Sort probabilities [N] of events that were true or not, bool [N], into bins of equal width.

    Args:
        weight: [N], how much each counts.
    """
    place = (probability.double() * bins).long().clamp(0, bins - 1)
    sums = torch.zeros(3, bins, dtype=torch.float64)
    for row, values in enumerate((torch.ones_like(weight), probability, truth)):
        sums[row].index_add_(0, place.cpu(), (values.double() * weight.double()).cpu())
    total, said, true = (row[sums[0] > 0].numpy() for row in sums)
    return Reliability(said / total, true / total, total / total.sum())
