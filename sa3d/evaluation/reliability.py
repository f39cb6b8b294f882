"""Reliability of probabilities: how often predicted events happen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Reliability:
    """Predicted and observed probabilities in bins; bins without weight are left out.

    Attributes:
        predicted: mean predicted probability in each bin.
        observed: share of true events in each bin.
        weight: share of all weight in each bin.
    """

    predicted: np.ndarray
    observed: np.ndarray
    weight: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error (Naeini et al. 2015): mean of ``|predicted - observed|``."""
        return float((self.weight * abs(self.predicted - self.observed)).sum())

    @property
    def doubtful_error(self) -> float:
        """Expected calibration error over the bins between 0.05 and 0.95; 0 if there are none."""
        inner = (self.predicted > 0.05) & (self.predicted < 0.95)
        weight = self.weight[inner] / max(float(self.weight[inner].sum()), 1e-12)
        return float((weight * abs(self.predicted - self.observed)[inner]).sum())


def reliability(probability: Tensor, truth: Tensor, weight: Tensor, bins: int = 15) -> Reliability:
    """Sort predictions into bins of equal width, and compare them with the truth.

    Args:
        probability: [N], predicted.
        truth: bool [N], whether the event happened.
        weight: [N], how much each event counts.
    """
    place = (probability.double() * bins).long().clamp(0, bins - 1)
    sums = torch.zeros(3, bins, dtype=torch.float64)
    for row, values in enumerate((torch.ones_like(weight), probability, truth)):
        sums[row].index_add_(0, place.cpu(), (values.double() * weight.double()).cpu())
    total, predicted, observed = (row[sums[0] > 0].numpy() for row in sums)
    return Reliability(predicted / total, observed / total, total / total.sum())
