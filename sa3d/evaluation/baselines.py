"""Baselines for the loop: SA3D's original single pass, and votes with equal confidence."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sa3d.base.mask_overlap import iou
from sa3d.loop.config import ConvergenceConfig, LoopConfig
from sa3d.loop.object_loop import ObjectLoop
from sa3d.scene.scene import Scene
from sa3d.scene.view_operator import ViewOperator
from sa3d.segmenters.answer_check import ask
from sa3d.segmenters.protocol import PromptableSegmenter


def original_single_pass(
    scene: Scene,
    segmenter: PromptableSegmenter,
    prompted: int,
    mask: np.ndarray,
    *,
    lam: float = 1.0,
    min_iou: float = 0.5,
    points: int = 3,
) -> Tensor:
    """Run SA3D as published (Cen et al. 2023, sec. 3): every view once, in file order.

    Each view makes one gradient step: its mask is added to the mask grid, and its background is
    subtracted ``lam`` times. A view is skipped if the IoU of the segmenter's mask and the rendered
    mask is below ``min_iou``.

    Args:
        prompted: index of the prompted view, which comes first.
        mask: [H, W] bool, the object's mask in that view.
        points: largest number of points per view.

    Returns:
        The mask grid, [N]; a pixel is object where the grid renders to more than 0.
    """
    prepared = scene.prepared(prompted)
    values = sa3d_gradient_step(prepared.operator, prepared.mask_to_rays(mask), lam)
    for index in range(len(scene.views)):
        if index == prompted:
            continue
        prepared = scene.prepared(index)
        shape = (prepared.camera.height, prepared.camera.width)
        rendered = prepared.operator.render(values).reshape(shape)
        coords = published_self_prompt(rendered, prepared.points_world, points)
        if not len(coords):
            continue
        scene.encode(index, segmenter)
        photo = scene.views[index].camera
        scale = np.array([photo.width / shape[1], photo.height / shape[0]])
        pixels = np.floor((coords + 0.5) * scale).astype(np.float32)
        found = ask(segmenter, pixels, np.ones(len(pixels), dtype=np.int64)).masks[0]
        share = prepared.mask_to_rays(found)
        seen = ((rendered > 0) & (rendered > rendered.mean())).numpy()
        if iou((share > 0.5).reshape(shape).numpy(), seen) >= min_iou:
            values += sa3d_gradient_step(prepared.operator, share, lam)
    return values


def sa3d_gradient_step(operator: ViewOperator, mask: Tensor, lam: float) -> Tensor:
    """Return ``-dL/dV`` of SA3D's loss, [N], for a mask [R]: ``W^T (S - lam (1 - S))``."""
    return operator.splat(mask - lam * (1 - mask))


def published_self_prompt(rendered: Tensor, points_world: Tensor, count: int) -> np.ndarray:
    """Return SA3D's self-prompt for a rendered mask (sec. 3.3): points (x, y), [P, 2].

    The first point is the brightest pixel. Each further point is the brightest pixel after a
    decrease. For each chosen point, take the pixel's 3D distance to that point (as a share of the
    largest distance in the view) times the point's brightness; the decrease of a pixel is the least
    of these products. A square around each point, half the object's radius wide on each side of it,
    is left out.

    Args:
        rendered: [h, w].
        points_world: [h, w, 3], the surface seen in each pixel.
        count: largest number of points.
    """
    chosen: list[tuple[int, int]] = []
    free = rendered.clone()
    lowered = torch.full_like(rendered, torch.inf)
    reach = max(int((float((rendered > 0).sum()) / np.pi) ** 0.5) // 2, 2)
    while len(chosen) < count:
        left = free - lowered if chosen else free
        y, x = divmod(int(left.argmax()), rendered.shape[1])
        if float(left[y, x]) <= 0:
            break
        chosen.append((x, y))
        away = (points_world - points_world[y, x]).norm(dim=-1)
        lowered = torch.minimum(lowered, rendered[y, x] * away / away.max().clamp_min(1e-9))
        square = (slice(max(0, y - reach), y + reach + 1), slice(max(0, x - reach), x + reach + 1))
        free[square] = -torch.inf
    return np.array(chosen, dtype=np.float32).reshape(-1, 2)


class EqualVotes(ObjectLoop):
    """Loop without gate, confidence or choice of the best round: all votes are equal."""

    @staticmethod
    def config() -> LoopConfig:
        """Return the settings for this baseline."""
        trusting = ConvergenceConfig(min_best_agreement=0.0, min_prompt_agreement=0.0)
        return LoopConfig(min_agreement=0.0, user_confidence=1.0, convergence=trusting)

    def confidence(self, probability: Tensor, known: Tensor) -> float:
        """Return 1."""
        return 1.0
