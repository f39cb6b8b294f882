"""The loss of SA3D (Cen et al. 2023) with autograd: a reference for the closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from sa3d.scene.view_operator import ViewOperator


def autograd_step(operator: ViewOperator, mask: Tensor, lam: float) -> Tensor:
    """Return ``-dL/dV`` [N] of ``L = - sum_p S m + lam sum_p (1 - S) m``.

    Source: Cen et al. 2023, eq. 4-6. Rays are summed entry by entry, not by the operator's own
    products. The values ``V`` are random; the loss is linear, so they do not matter.

    Args:
        operator: of one view.
        mask: ``S``, [R] in [0, 1].
        lam: weight of the second term.
    """
    values = torch.rand(operator.num_elements, requires_grad=True)
    ray = torch.repeat_interleave(torch.arange(operator.num_rays), operator.crow.diff())
    rendered = torch.zeros(operator.num_rays).index_add(
        0, ray, operator.weight * values[operator.element_ids[operator.col]]
    )
    loss = -(mask * rendered).sum() + lam * ((1 - mask) * rendered).sum()
    (gradient,) = torch.autograd.grad(loss, values)
    return -gradient
