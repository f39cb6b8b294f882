"""Calibrated probabilities: from an element's evidence to the probability that it is object.

The evidence share ``F / T`` is how the views voted, not how often such votes are right. The map
from evidence for (``F``) and against (``A = T - F``) to a probability is logistic,

    logit p = slope * log((F + pseudo) / (A + pseudo)).

It is monotone in ``F`` and ``A``, and 0.5 for an element without votes. With ``slope`` 1, the
probability is the mean of a Beta posterior: the evidence share with prior 0.5 and weight
``2 pseudo``.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.segmentation import Segmentation
from sa3d.scene.scene import Scene
from sa3d.voting.mask_rendering import render_share


@dataclass(frozen=True)
class Calibration:
    """The constants of the map from evidence to probability.

    Attributes:
        pseudo: added to the evidence on both sides, in units of one fully lit pixel.
        slope: of the logistic map.
    """

    pseudo: float
    slope: float

    def probability(self, evidence: Evidence) -> Tensor:
        """Return the probability that each element is object, [N] in (0, 1)."""
        against = (evidence.total - evidence.object).clamp_min(0)
        odds = (evidence.object + self.pseudo) / (against + self.pseudo)
        # Torch's sigmoid depends on the number of threads in the last digit, its exp does not.
        return 1 / (1 + (-self.slope * odds.log()).exp())


FITTED = Calibration(pseudo=0.0123, slope=1.95)
"""Fitted by ``scripts/benchmarks/uncertainty.py`` on generated scenes; see docs/uncertainty.md."""


def calibrated_probability(
    segmentation: Segmentation, name: str, calibration: Calibration = FITTED
) -> Tensor:
    """Return the probability that each element belongs to an object.

    Args:
        segmentation: with the object.
        name: of the object.
        calibration: constants of the map; by default those fitted on generated scenes.

    Returns:
        Probabilities [N] in (0, 1), one for each element of ``segmentation.elements``; 0.5 for
        elements without votes.

    Raises:
        SA3DError: there is no such object.

    Example:
        >>> probability = calibrated_probability(segmentation, "mug")
        >>> doubtful = (probability - 0.5).abs() < 0.4
    """
    return calibration.probability(segmentation.object(name).evidence)


def rendered_certainty(scene: Scene, probability: Tensor, view_index: int) -> Tensor:
    """Render element probabilities [N] in a view: [h, w] at operator resolution, on the CPU."""
    prepared = scene.prepared(view_index)
    rendered = render_share(prepared.operator, probability)
    return rendered.reshape(prepared.camera.height, prepared.camera.width).cpu()
