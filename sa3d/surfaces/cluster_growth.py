"""Clusters take what geometry cannot tell: their edges, and feet as thin as the noise of a table.

Depth at an object's outline lies between two things, and a flat foot is no higher than the bumps
that a NeRF gives the table it stands on. There color decides: a doubtful pixel joins a cluster it
is connected to if its color is more common on the cluster than around it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_BINS = 16
"""Per color channel."""

_AROUND = 0.5
"""Surroundings reach this far beyond a cluster's box, as a share of its size."""


def grow_clusters(
    clusters: Sequence[Tensor], rgb: Sequence[Tensor], doubtful: Sequence[Tensor]
) -> list[Tensor]:
    """Clusters with the doubtful pixels that look like them and touch them.

    Args:
        clusters: per view int64 [h, w], -1 for none.
        rgb: per view [h, w, 3] in [0, 1].
        doubtful: per view bool [h, w], pixels that may join; the others stay as they are.

    Returns:
        Clusters as they came in, grown.
    """
    number = max((int(one.max()) for one in clusters), default=-1) + 1
    if number == 0:
        return list(clusters)
    bins = [_bins(one) for one in rgb]
    own = torch.zeros(number, _BINS**3)
    around = torch.zeros(number, _BINS**3)
    for labels, code in zip(clusters, bins, strict=True):
        for cluster in labels.unique().tolist():
            if cluster >= 0:
                mine = labels == cluster
                near = _padded_box(mine) & ~mine
                own[cluster] += torch.bincount(code[mine], minlength=_BINS**3)
                around[cluster] += torch.bincount(code[near], minlength=_BINS**3)
    own, around = _smoothed(own), _smoothed(around)
    likeness = own / (own + around + 1e-12)
    return [
        _grown(labels, likeness[:, code], open_)
        for labels, code, open_ in zip(clusters, bins, doubtful, strict=True)
    ]


def _bins(rgb: Tensor) -> Tensor:
    """The histogram bin of each color, int64 [h, w]."""
    r, g, b = (rgb * _BINS).long().clamp(0, _BINS - 1).unbind(dim=-1)
    return (r * _BINS + g) * _BINS + b


def _smoothed(histograms: Tensor) -> Tensor:
    """Histograms [K, bins] blurred by a bin along each channel, each with sum 1."""
    cube = histograms.reshape(-1, 1, _BINS, _BINS, _BINS)
    kernel = torch.tensor([1.0, 2.0, 1.0])
    kernel = kernel[:, None, None] * kernel[None, :, None] * kernel
    blurred = functional.conv3d(cube, kernel[None, None], padding=1).reshape(histograms.shape)
    return blurred / blurred.sum(dim=-1, keepdim=True).clamp_min(1e-12)


def _grown(labels: Tensor, likeness: Tensor, doubtful: Tensor) -> Tensor:
    """One view's clusters [h, w] grown; ``likeness`` [K, h, w]: how much a color is each's."""
    from skimage.measure import label

    grown = labels.clone()
    best = torch.full(labels.shape, 0.5)
    for cluster in labels.unique().tolist():
        if cluster < 0:
            continue
        mine = labels == cluster
        like = doubtful & _padded_box(mine) & (likeness[cluster] > best)
        parts = torch.from_numpy(
            np.asarray(label((mine | like).numpy(), background=0, connectivity=1))
        )
        connected = torch.zeros(int(parts.max()) + 1, dtype=torch.bool)
        connected[parts[mine]] = True
        joins = like & connected[parts]
        grown[joins] = cluster
        best[joins] = likeness[cluster][joins]
    return grown


def _padded_box(mask: Tensor) -> Tensor:
    """The mask's box, padded by ``_AROUND`` of its longer side: bool [h, w]."""
    y, x = torch.nonzero(mask, as_tuple=True)
    pad = int(_AROUND * int(max(y.max() - y.min(), x.max() - x.min()))) + 2
    box = torch.zeros_like(mask)
    box[max(0, int(y.min()) - pad) : int(y.max()) + pad + 1,
        max(0, int(x.min()) - pad) : int(x.max()) + pad + 1] = True  # fmt: skip
    return box
