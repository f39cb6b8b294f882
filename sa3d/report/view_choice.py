"""Which views a report shows."""

from __future__ import annotations

from sa3d.geometry.view_schedule import camera_distances, farthest_views
from sa3d.objects.segmentation import ObjectResult
from sa3d.scene.scene import Scene


def prompted_views(scene: Scene, one: ObjectResult) -> list[int]:
    """The views a user marked an object in, in the order of the prompts."""
    named = [scene.view_index(prompt.view) for prompt in one.prompts if prompt.view]
    return list(dict.fromkeys(named))


def spread_views(scene: Scene, one: ObjectResult, count: int) -> list[int]:
    """Up to ``count`` views of an object: the prompted ones, then always the farthest from those.

    Views that do not see the object are left out; the rest comes in the order of the photos.
    """
    first = prompted_views(scene, one)
    rest = [i for i, r in one.views.items() if r.outcome not in ("unseen", "no prompt")]
    distances = camera_distances([view.camera for view in scene.views])
    chosen = farthest_views(distances, sorted(set(rest) - set(first)), count, first)
    return chosen[: len(first)] + sorted(chosen[len(first) :])
