"""Which views a report shows."""

from __future__ import annotations

import torch

from sa3d.scene import Scene
from sa3d.segmentation import ObjectSegmentation


def prompted_views(scene: Scene, one: ObjectSegmentation) -> list[int]:
    """The views a user marked an object in, in the order of the prompts."""
    named = [scene.view_index(prompt.view) for prompt in one.prompts if prompt.view]
    return list(dict.fromkeys(named))


def spread_views(scene: Scene, one: ObjectSegmentation, count: int) -> list[int]:
    """Up to ``count`` views of an object: the prompted ones, then always the farthest from those.

    Views that do not see the object are left out; the rest comes in the order of the photographs.
    """
    first = prompted_views(scene, one)
    rest = [i for i, r in one.views.items() if r.outcome not in ("unseen", "no prompt")]
    rest = sorted(set(rest) - set(first))
    chosen = first[:count]
    centers = torch.stack([view.camera.position.cpu().float() for view in scene.views])
    while rest and len(chosen) < count:
        if not chosen:
            chosen.append(rest.pop(0))
            continue
        distance = torch.cdist(centers[rest], centers[chosen]).amin(dim=1)
        chosen.append(rest.pop(int(distance.argmax())))
    return chosen[: len(first)] + sorted(chosen[len(first) :])
