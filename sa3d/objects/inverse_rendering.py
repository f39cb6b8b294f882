"""Mask inverse rendering: a view's 2D mask becomes evidence on the elements, in closed form.

SA3D (Cen et al. 2023, eq. 4-6) minimises over the mask grid ``V``, per view with mask ``S``,

    L(V) = - sum_p S(p) m(p) + lambda sum_p (1 - S(p)) m(p),      m = W V.

``L`` is linear in ``V``: one gradient step *is* the vote ``V += W^T (S - lambda (1 - S))``. We keep
two sums, the evidence for the object ``F = sum W^T S`` and all evidence ``T = sum W^T 1``. The step
is ``(1 + lambda) F - lambda T``, positive exactly where ``F / T > lambda / (1 + lambda)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sa3d.scene.view_operator import ViewOperator


@dataclass(frozen=True)
class Vote:
    """Vote of one view on one object, at operator resolution.

    Attributes:
        mask: [R] in [0, 1], the share of each pixel that is object.
        confidence: [R] >= 0, the weight of each pixel; [] if all have the same.
    """

    mask: Tensor
    confidence: Tensor


@dataclass
class Evidence:
    """Evidence for the object and in total, both [N] float32, over a scene's elements.

    Example:
        >>> evidence = Evidence.zeros(len(scene.elements))
        >>> evidence.add(scene.prepared(0).operator, vote)
        >>> is_object = evidence.labels()
    """

    object: Tensor
    total: Tensor
    _shared: bool = field(default=False, init=False, repr=False, compare=False)

    @classmethod
    def zeros(cls, num_elements: int, device: str | torch.device = "cpu") -> Evidence:
        """Return evidence without votes."""
        return cls(
            torch.zeros(num_elements, device=device), torch.zeros(num_elements, device=device)
        )

    def snapshot(self) -> Evidence:
        """Return a copy; values are copied only when one of the two is changed."""
        same = Evidence(self.object, self.total)
        self._shared = same._shared = True
        return same

    def _own(self) -> None:
        """Copy the values if they are shared, before they are changed in place."""
        if self._shared:
            self.object, self.total = self.object.clone(), self.total.clone()
            self._shared = False

    def add(self, operator: ViewOperator, vote: Vote, sign: int = 1) -> None:
        """Cast (``sign=1``) or retract (``sign=-1``) a view's vote."""
        self._own()
        (local,) = splat_votes(operator, [vote])
        seen = operator.element_ids
        for whole, part in ((self.object, local.object), (self.total, local.total)):
            if sign > 0:
                whole.index_add_(0, seen, part)
            else:  # float subtraction may leave values slightly below zero
                whole[seen] = (whole[seen] - part).clamp_min(0)

    def at(self, element_ids: Tensor) -> Evidence:
        """Return the evidence of some elements, [n] each."""
        return Evidence(*(one.index_select(0, element_ids) for one in (self.object, self.total)))

    def set_at(self, element_ids: Tensor, evidence: Evidence) -> None:
        """Replace the evidence of some elements, [n] each."""
        self._own()
        self.object.index_copy_(0, element_ids, evidence.object)
        self.total.index_copy_(0, element_ids, evidence.total)

    def add_to_total(self, mask: Tensor, amount: float) -> None:
        """Add ``amount`` to the total where ``mask``, bool [N], is True; clamp at 0."""
        self._own()
        self.total.add_(mask, alpha=amount).clamp_min_(0)

    def share(self, prior: float, prior_weight: float) -> Tensor:
        """Return the evidence share, [N] in [0, 1].

        ``(F + prior k) / (T + k)`` with ``k = prior_weight``: an element without votes has the
        share ``prior``, and a few votes outweigh it.
        """
        return (self.object + prior * prior_weight) / (self.total + prior_weight)

    def labels(self, lam: float = 1.0) -> Tensor:
        """Return the object's elements, bool [N]: those with ``F / T > lam / (1 + lam)``."""
        return (1 + lam) * self.object - lam * self.total > 0


def evidence_of_others(
    operator: ViewOperator, evidence: Sequence[Evidence], votes: Sequence[Vote | None]
) -> list[Evidence]:
    """Return K objects' evidence of a view's elements, [n] each, without the view's own votes.

    The evidence itself does not change.

    Args:
        operator: of the view.
        evidence: of all elements, for each object.
        votes: of the view, for each object; None if it has not voted.
    """
    seen = [one.at(operator.element_ids) for one in evidence]
    own = {position: vote for position, vote in enumerate(votes) if vote is not None}
    sums = splat_votes(operator, list(own.values()))
    for position, vote in zip(own, sums, strict=True):
        whole = seen[position]
        # Float subtraction may leave values slightly below zero.
        seen[position] = Evidence(
            (whole.object - vote.object).clamp_min(0), (whole.total - vote.total).clamp_min(0)
        )
    return seen


def splat_votes(operator: ViewOperator, votes: Sequence[Vote]) -> list[Evidence]:
    """Return the evidence of votes on K objects for the view's elements, [n] each."""
    if not votes:
        return []
    columns = [vote.mask * vote.confidence for vote in votes]
    columns += [vote.confidence for vote in votes if vote.confidence.ndim]
    sums = iter(operator.splat_local(torch.stack(columns).T).T)
    claims = [next(sums) for _ in votes]
    return [
        Evidence(
            claim,
            next(sums) if vote.confidence.ndim else vote.confidence * operator.element_weights,
        )
        for claim, vote in zip(claims, votes, strict=True)
    ]
