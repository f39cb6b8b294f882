"""The order of views: outward from the views the user prompted, near cameras first."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sa3d.geometry.camera import Camera


def camera_distances(cameras: Sequence[Camera]) -> Tensor:
    """How different two views are, [V, V]: distance of positions plus angle of directions.

    Positions are divided by their median distance from their centre, so that half a turn around the
    object and half a turn of the head weigh alike (in radians).
    """
    positions = torch.stack([camera.position.float().cpu() for camera in cameras])
    forwards = torch.stack([camera.forward.float().cpu() for camera in cameras])
    radius = (positions - positions.mean(dim=0)).norm(dim=-1).median().clamp_min(1e-6)
    angles = torch.arccos((forwards @ forwards.T).clamp(-1, 1))
    return torch.cdist(positions, positions) / radius + angles


def outward_order(cameras: Sequence[Camera], start: Sequence[int]) -> list[int]:
    """All views but ``start``, each next one the nearest to any view already visited.

    A mask changes little between neighbours, so what is learned travels in small steps (Prim's
    order on the graph of camera distances). Ties go to the lower index.

    Raises:
        ValueError: no starting view.
    """
    if not start:
        raise ValueError("outward_order needs at least one starting view")
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
    """``count`` views (or all, if there are fewer) that stand for the others, ``start`` first.

    Each next one brings the views nearest, on average, to one that was chosen: a lone view far from
    all others comes late. Ties go to the lower index.
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
    """``start``, then always the candidate farthest from those chosen: ``count`` views at most.

    Without a start the first candidate is one. Ties go to the earlier candidate.

    Args:
        distances: [V, V], as from ``camera_distances``.
    """
    chosen = list(start)[:count]
    left = [view for view in candidates if view not in chosen]
    while left and len(chosen) < count:
        far = distances[left][:, chosen].amin(dim=1) if chosen else torch.zeros(1)
        chosen.append(left.pop(int(far.argmax())))
    return chosen


def held_out_views(order: Sequence[int], share: float) -> frozenset[int]:
    """Evenly spaced views of the schedule, ``share`` of them, that measure and never vote.

    None in scenes of fewer than ten views: there every vote is needed.
    """
    count = round(share * len(order)) if len(order) >= 10 else 0
    return frozenset(order[(2 * i + 1) * len(order) // (2 * count)] for i in range(count))
