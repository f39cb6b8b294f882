"""Rank views by the expected benefit of a prompt in them: by the area that seems wrong.

Neither the segmenter nor the field is used, only operators, evidence and the views' masks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.base.sums import ordered_sum
from sa3d.geometry.view_schedule import camera_distances
from sa3d.objects.segmentation import Segmentation, ViewRecord
from sa3d.results.calibration import calibrated_probability, rendered_certainty
from sa3d.scene.scene import Scene

BORDER = 0.04
"""Strips of doubt narrower than this share of the object's size (sqrt of its area) do not count:
every mask has such a border, and no prompt removes it."""

PERHAPS = 0.4
"""Pixels above this probability count to the object's area. Elements without votes have 0.5."""
NEAR = 0.25
"""Doubt further from the object than this share of its size does not count."""
AGAIN = 0.5
"""Factor on a view's score for each prompt that it already has."""
AROUND = 4
"""Number of nearest views that gain from a prompt, too, since they are visited again."""


@dataclass(frozen=True)
class NextView:
    """A view and the expected benefit of a prompt in it.

    Areas are shares of the object's largest area in any view.

    Attributes:
        index: position of the view in the scene.
        view: name of the view.
        score: the area that is expected to be wrong in this view, plus ``around``; lower for views
            that have prompts already.
        doubt: the area of this view where the votes leave doubt.
        disagreement: the area where the view's own mask differs from the other views' votes.
        around: mean area that is expected to be wrong in the nearest views.
        seen: the object's area in this view.
        reason: the reason for the score, in words.
    """

    index: int
    view: str
    score: float
    doubt: float
    disagreement: float
    around: float
    seen: float
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


def next_views(
    scene: Scene, segmentation: Segmentation, name: str, count: int | None = None
) -> list[NextView]:
    """Rank the views by the expected benefit of a prompt on or beside an object, best first.

    Args:
        scene: prepared, of the segmentation.
        segmentation: with the object.
        name: of the object.
        count: number of views at most; all by default.

    Raises:
        SA3DError: there is no such object, or ``count`` is below 1.

    Example:
        >>> best = next_views(scene, segmentation, "mug", count=1)[0]
        >>> print(best.view, best.reason)
    """
    check_count(count)
    probability = calibrated_probability(segmentation, name)
    one = segmentation.object(name)
    records = one.views
    measured = [
        _measure(scene, rendered_certainty(scene, probability, index), index, records.get(index))
        for index in range(len(scene.views))
    ]
    prompts = Counter(scene.view_index(prompt.view) for prompt in one.prompts if prompt.view)
    shares = torch.tensor(measured) / max(max(area for area, _, _ in measured), 1e-6)
    again = torch.tensor([AGAIN ** prompts[index] for index in range(len(measured))])
    wrong = shares[:, 1:].sum(dim=1) * again
    distances = camera_distances([view.camera for view in scene.views])
    nearest = distances.fill_diagonal_(torch.inf).argsort(dim=1, stable=True)
    near = nearest[:, : min(AROUND, len(nearest) - 1)]
    around = wrong[near].mean(dim=1).nan_to_num(0.0)  # a single view has no views around it
    ranked = [
        _next_view(scene, index, records.get(index), (*row, float(beside)), prompts[index])
        for index, (row, beside) in enumerate(zip(shares.tolist(), around, strict=True))
    ]
    ranked.sort(key=lambda one: (-one.score, one.index))
    return ranked[:count]


def check_count(count: int | None) -> None:
    """Check a number of views; None stands for all.

    Raises:
        SA3DError: the number is below 1.
    """
    if count is not None and count < 1:
        raise SA3DError(f"cannot list {count} views: ask for at least one view")


def _measure(
    scene: Scene, rendered: Tensor, index: int, record: ViewRecord | None
) -> tuple[float, float, float]:
    """Return the areas, in pixels, of the object, of doubt and of disagreement in a view."""
    inside = rendered > PERHAPS
    doubt = torch.minimum(rendered, 1 - rendered)
    disagreement = torch.zeros_like(doubt)
    if record is not None and record.mask is not None:
        own = scene.prepared(index).mask_to_rays(record.mask).reshape(rendered.shape)
        disagreement = ((own - rendered).abs() - doubt).clamp_min(0)
        inside = inside | (own > 0.5)
    area = float(inside.sum())
    width = max(1, round(BORDER * area**0.5))
    near = _grown(inside.float(), max(1, round(NEAR * area**0.5)))
    unsure, differing = (ordered_sum(_opened(near * part, width)) for part in (doubt, disagreement))
    return area, unsure, differing


def _grown(values: Tensor, radius: int) -> Tensor:
    """Return the maximum of [h, w] in the square within ``radius`` pixels."""
    return torch.nn.MaxPool2d(2 * radius + 1, stride=1, padding=radius)(values[None])[0]


def _opened(values: Tensor, radius: int) -> Tensor:
    """Open [h, w] by a square: remove structures narrower than ``2 radius + 1`` pixels."""
    return _grown(-_grown(-values, radius), radius)


def _next_view(
    scene: Scene,
    index: int,
    record: ViewRecord | None,
    shares: tuple[float, ...],
    prompts: int,
) -> NextView:
    seen, doubt, disagreement, around = shares
    score = (doubt + disagreement + around) * AGAIN**prompts
    reasons = [f"sees {seen:.0%} of the object"]
    if doubt > 0.01:
        reasons.append(f"the votes leave doubt about {doubt / max(seen, doubt):.0%} of it")
    if record is not None and disagreement > 0.01:
        measured = "" if record.outcome == "prompted" else f" (IoU {record.agreement:.2f})"
        reasons.append(f"its own mask and the other views differ{measured}")
    if around > 0.02:
        reasons.append(f"in the views around it {around:.0%} of the object seem wrong")
    if record is not None and record.outcome in ("rejected", "no prompt"):
        reasons.append("its mask was rejected" if record.mask is not None else "it has no mask")
    if prompts:
        reasons.append(f"has {prompts} prompt{'s' * (prompts > 1)} already")
    view = scene.views[index].name
    return NextView(index, view, score, doubt, disagreement, around, seen, "; ".join(reasons))
