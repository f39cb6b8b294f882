"""Orders and selections of views by the distances of their cameras."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sa3d.geometry.camera import Camera


def camera_distances(cameras: Sequence[Camera]) -> Tensor:
    """Return the distances of all pairs of cameras: [V, V].

    A distance is that of the positions, divided by the median distance of all positions from their
    mean, plus the angle (radians) between the viewing directions. So half a turn around the object
    and half a turn in place count about the same.
    """
    positions = torch.stack([camera.position.float().cpu() for camera in cameras])
    forwards = torch.stack([camera.forward.float().cpu() for camera in cameras])
    radius = (positions - positions.mean(dim=0)).norm(dim=-1).median().clamp_min(1e-6)
    angles = torch.arccos((forwards @ forwards.T).clamp(-1, 1))
    return torch.cdist(positions, positions) / radius + angles


def outward_order(cameras: Sequence[Camera], start: Sequence[int]) -> list[int]:
    """Order the views other than ``start``; the next is always the nearest to the views before.

    A mask changes little between neighbouring views, so errors stay small from step to step. This
    is the order of Prim's algorithm on the graph of camera distances. Ties go to the lower index.

    Args:
        cameras: of all V views.
        start: indices of the views that come before all others.

    Returns:
        The indices of the other views, in order.

    Raises:
        ValueError: ``start`` is empty.

    Example:
        Visit the views of a scene outwards from the prompted view 3:

        >>> outward_order([view.camera for view in scene.views], start=[3])
        [2, 4, 5, 1, 0]
    """
    if not start:
        raise ValueError("start is empty: give at least one view")
    distances = camera_distances(cameras)
    nearest = distances[list(start)].min(dim=0).values
    nearest[list(start)] = torch.inf
    order: list[int] = []
    while len(order) < len(cameras) - len(set(start)):
        view = int(nearest.argmin())
        order.append(view)
        nearest = torch.minimum(nearest, distances[view])
        nearest[[*start, *order]] = torch.inf
    return order


def spread_views(cameras: Sequence[Camera], count: int, start: Sequence[int] = ()) -> list[int]:
    """Choose ``count`` views (or all, if there are fewer) that represent the others.

    The views of ``start`` come first. Each further view is the one that most reduces the mean
    distance of all views to the nearest chosen one, so a single view far from all others comes
    late. Ties go to the lower index.
    """
    distances = camera_distances(cameras)
    chosen = list(dict.fromkeys(start))
    nearest = torch.full((len(cameras),), torch.inf)
    if chosen:
        nearest = distances[chosen].min(dim=0).values
    while len(chosen) < min(count, len(cameras)):
        cost = torch.minimum(nearest, distances).sum(dim=1)
        cost[chosen] = torch.inf
        chosen.append(int(cost.argmin()))
        nearest = torch.minimum(nearest, distances[chosen[-1]])
    return chosen


def farthest_views(
    distances: Tensor, candidates: Sequence[int], count: int, start: Sequence[int] = ()
) -> list[int]:
    """Choose at most ``count`` views: ``start``, then always the candidate farthest from them.

    Without a start the first candidate is chosen first. Ties go to the earlier candidate.

    Args:
        distances: [V, V] from ``camera_distances``.
        candidates: indices of the views to choose from.
        count: number of views, those of ``start`` included.
        start: indices of the views that are chosen already.
    """
    chosen = list(start)[:count]
    left = [view for view in candidates if view not in chosen]
    while left and len(chosen) < count:
        far = distances[left][:, chosen].amin(dim=1) if chosen else torch.zeros(1)
        chosen.append(left.pop(int(far.argmax())))
    return chosen


def held_out_views(order: Sequence[int], share: float) -> frozenset[int]:
    """Choose the held-out views, which measure and never vote, evenly spaced in ``order``.

    Args:
        order: indices of the views in the order of their visits.
        share: share of the views to hold out, in [0, 1].

    Returns:
        Indices of the held-out views; none with fewer than ten views, where every vote is needed.
    """
    count = round(share * len(order)) if len(order) >= 10 else 0
    return frozenset(order[(2 * i + 1) * len(order) // (2 * count)] for i in range(count))
