"""Segment any object in a trained NeRF: mark it in one view, get it in 3D.

    import sa3d

    scene = sa3d.open("outputs/kitchen/nerfacto/RUN/config.yml")
    mug = scene.segment(points=[(412, 233)], view="frame_00024.jpg")
    mug.export("mug.glb")

``open`` and ``load`` give an ``OpenScene``, its objects are ``SegmentedObject``.
What lies beneath is public, too, and needs no Nerfstudio: ``sa3d.scene.scene``,
``sa3d.loop.session``, ``sa3d.objects.segmentation``, ``sa3d.export``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sa3d.base.errors import SA3DError

if TYPE_CHECKING:
    from nerfstudio_plugin.api.opening import OpenScene, SegmentedObject, load, open
    from sa3d.objects.prompts import Prompt

__all__ = ["OpenScene", "Prompt", "SA3DError", "SegmentedObject", "load", "open"]

# The core knows nothing of Nerfstudio: what opens runs is imported when it is asked for.
_LATER = {
    **dict.fromkeys(
        ("OpenScene", "SegmentedObject", "load", "open"), "nerfstudio_plugin.api.opening"
    ),
    "Prompt": "sa3d.objects.prompts",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'sa3d' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
