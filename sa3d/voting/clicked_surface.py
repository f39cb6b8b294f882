"""Surface that stands out in 3D under a user's points.

A point does not show how large the object is, and a segmenter without weights only has colors: of a
ball in four colors, it finds the part in one color. In 3D, an object on a table ends where its
surface ends.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sa3d.base.array_files import ArrayKind, load_arrays, save_arrays
from sa3d.base.errors import SA3DError
from sa3d.base.narrowing import narrowed
from sa3d.objects.prompts import Prompt
from sa3d.scene.scene import Scene, remove_damaged
from sa3d.surfaces.config import StandingOutConfig
from sa3d.surfaces.standing_out import find_standing_out

_LOG = logging.getLogger(__name__)
_FILE = "standing_out-2.npz"
_NOTHING = -1
_TOO_LARGE = 0.5
"""A surface that fills a larger share of the view is not used."""


def clicked_surface(scene: Scene, index: int, prompts: Sequence[Prompt]) -> np.ndarray | None:
    """Return the surface that stands out under a view's points, float32 [H, W] in [0, 1].

    The surfaces that stand out are found once for a scene, in seconds, and kept in its cache. The
    field is not evaluated.

    Args:
        scene: the prepared scene.
        index: the view.
        prompts: the user's prompts in this view.

    Returns:
        None if nothing stands out there, or if a prompt has a box, a mask, or a chosen candidate,
        since these show how large the object is.
    """
    if any(p.box is not None or p.mask is not None or p.candidate is not None for p in prompts):
        return None
    if not len(scene.elements):  # a field without density
        return None
    photo = scene.views[index].camera
    clusters = _clusters(scene, index)
    height, width = clusters.shape
    clicked: set[int] = set()
    for prompt in prompts:
        for (x, y), label in prompt.labeled_points:
            row, column = int(y * height / photo.height), int(x * width / photo.width)
            beside = clusters[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            # At the edge of a surface that already has a point, a new point is on that surface,
            # not on the neighbouring one.
            if label == 1 and clicked.isdisjoint(set(beside.flatten().tolist()) - {_NOTHING}):
                clicked.add(int(clusters[row, column]))
    mask = torch.isin(clusters, torch.tensor(sorted(clicked - {_NOTHING}), dtype=clusters.dtype))
    if not mask.any() or float(mask.float().mean()) > _TOO_LARGE:
        return None
    size = (photo.height, photo.width)
    large = torch.nn.functional.interpolate(mask[None, None].float(), size, mode="bilinear")
    return large[0, 0].numpy()


def _clusters(scene: Scene, index: int) -> Tensor:
    """Return the cluster seen in each pixel of a view, int64 [h, w]; -1 for none."""
    path = scene.cache / _FILE
    cameras = [scene.prepared(i).camera for i in range(len(scene.views))]
    kinds: dict[str, ArrayKind] = {
        str(i): ("int32", (camera.height, camera.width)) for i, camera in enumerate(cameras)
    }
    belongs_to = f"{_FILE} of scene {scene.key} {[view.name for view in scene.views]}"
    if path.exists():
        try:
            stored = load_arrays(path, kinds, belongs_to=belongs_to)
            if min(one.min() for one in stored.values()) < _NOTHING:
                raise SA3DError(f"{path} has clusters below {_NOTHING}")
            return torch.from_numpy(stored[str(index)].astype(np.int64))
        except SA3DError as error:
            remove_damaged(path)
            _LOG.warning("a file of the scene cache was damaged and is made again (%s)", error)
    found = find_standing_out(scene, StandingOutConfig()).clusters
    stored = {
        str(i): narrowed(one.cpu().numpy(), np.int32, "mark a box") for i, one in enumerate(found)
    }
    save_arrays(path, stored, belongs_to=belongs_to, compress=True, durable=False)
    return torch.from_numpy(stored[str(index)].astype(np.int64))
