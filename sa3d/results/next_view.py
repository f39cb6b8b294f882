"""Where a click helps most: views ranked by how much of the object seems wrong in them.

Needs neither the segmenter nor the NeRF: only operators, evidence and the masks that views gave.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.geometry.view_schedule import camera_distances
from sa3d.objects.segmentation import Segmentation, ViewRecord
from sa3d.results.calibration import calibrated_probability, rendered_certainty
from sa3d.scene.scene import Scene

BORDER = 0.04
"""Doubt narrower than this share of the object's size (sqrt of its area) on all sides is its
border: every mask has one, and no click cures it."""

PERHAPS = 0.4
"""Probability from which a pixel may well be object: 0.5 is that of elements nobody voted on."""
NEAR = 0.25
"""Doubt further from the object than this share of its size is about something else."""
AGAIN = 0.5
"""Every prompt that a view has already lowers its score so."""
AROUND = 4
"""So many nearest views gain from a click, too: they are asked again."""


@dataclass(frozen=True)
class NextView:
    """A view and what a click in it is expected to be worth.

    Attributes:
        index, view: which one, by position and by name.
        score: area expected to be wrong, here and on average in the views around, as a share of the
            object's largest area in any view; less where the user was before.
        doubt: the area here in which the elements' votes leave doubt, as such a share.
        disagreement: that in which the view's own mask and the other views differ.
        around: what is expected to be wrong in the nearest views, on average, as such a share.
        seen: the object's area here as a share of its largest.
        reason: in words.
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
        """Plain values."""
        return asdict(self)


def next_views(
    scene: Scene, segmentation: Segmentation, name: str, count: int | None = None
) -> list[NextView]:
    """Views in which a click on (or beside) an object helps most, best first.

    Args:
        count: at most so many; all by default.

    Raises:
        SA3DError: no such object, or no view is asked for.
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
    around = wrong[near].mean(dim=1).nan_to_num(0.0)  # a lone view has none around
    ranked = [
        _next_view(scene, index, records.get(index), (*row, float(beside)), prompts[index])
        for index, (row, beside) in enumerate(zip(shares.tolist(), around, strict=True))
    ]
    ranked.sort(key=lambda one: (-one.score, one.index))
    return ranked[:count]


def check_count(count: int | None) -> None:
    """Check a number of views to be listed; None is all.

    Raises:
        SA3DError: it is not even one.
    """
    if count is not None and count < 1:
        raise SA3DError(f"at least one view is listed, not {count}")


def _measure(
    scene: Scene, rendered: Tensor, index: int, record: ViewRecord | None
) -> tuple[float, float, float]:
    """The object's area in a view, that of doubt and of disagreement, in pixels."""
    inside = rendered > PERHAPS
    doubt = torch.minimum(rendered, 1 - rendered)
    disagreement = torch.zeros_like(doubt)
    if record is not None and record.mask is not None:
        said = scene.prepared(index).mask_to_rays(record.mask).reshape(rendered.shape)
        disagreement = ((said - rendered).abs() - doubt).clamp_min(0)
        inside = inside | (said > 0.5)
    area = float(inside.sum())
    width = max(1, round(BORDER * area**0.5))
    near = _grown(inside.float(), max(1, round(NEAR * area**0.5)))
    unsure, differing = (float(_opened(near * part, width).sum()) for part in (doubt, disagreement))
    return area, unsure, differing


def _grown(values: Tensor, radius: int) -> Tensor:
    """The greatest of [h, w] within ``radius`` pixels, in a square."""
    return torch.nn.MaxPool2d(2 * radius + 1, stride=1, padding=radius)(values[None])[0]


def _opened(values: Tensor, radius: int) -> Tensor:
    """Grey opening of [h, w] by a square: what is narrower than ``2 radius + 1`` pixels goes."""
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
    said = [f"sees {seen:.0%} of the object"]
    if doubt > 0.01:
        said.append(f"the votes leave doubt about {doubt / max(seen, doubt):.0%} of it")
    if record is not None and disagreement > 0.01:
        measured = "" if record.outcome == "prompted" else f" (IoU {record.agreement:.2f})"
        said.append(f"its own mask and the others differ{measured}")
    if around > 0.02:
        said.append(f"in the views around it {around:.0%} of the object seem wrong")
    if record is not None and record.outcome in ("rejected", "no prompt"):
        said.append("its mask was not believed" if record.mask is not None else "it has no mask")
    if prompts:
        said.append(f"marked {prompts} time{'s' * (prompts > 1)} before")
    view = scene.views[index].name
    return NextView(index, view, score, doubt, disagreement, around, seen, "; ".join(said))
