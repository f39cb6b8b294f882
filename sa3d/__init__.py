"""Segment any object in a trained NeRF: mark it in one view, get it in 3D.

    import sa3d

    scene = sa3d.open("outputs/kitchen/nerfacto/RUN/config.yml")
    mug = scene.segment("frame_00024.jpg", points=[(412, 233)])
    mug.export("mug.glb")

``open`` and ``load`` return an ``OpenScene``; its objects are ``SegmentedObject``. The core works
without Nerfstudio, for other fields and other segmenters: ``Scene``, ``Session`` and
``Segmentation``, over the protocols ``RadianceField``, ``PromptableSegmenter`` and
``TextDetector``. ``load_segmenter`` and ``load_detector`` load the segmenters and detectors that
come with the program.

The names in ``dir(sa3d)`` are the public interface. Everything else is internal: it may change with
any version.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sa3d.base.errors import SA3DError

if TYPE_CHECKING:
    from nerfstudio_plugin.api.open_scene import OpenScene, SegmentedObject
    from nerfstudio_plugin.api.opening import load
    from nerfstudio_plugin.api.opening import open as open
    from sa3d.detectors.loading import load_detector
    from sa3d.detectors.protocol import TextDetector
    from sa3d.export.config import MeshConfig, PointCloudConfig
    from sa3d.fields.radiance_field import RadianceField
    from sa3d.geometry.camera import Camera
    from sa3d.loop.config import LoopConfig
    from sa3d.loop.session import Session
    from sa3d.loop.settings import Settings
    from sa3d.objects.events import Finished, RoundDone, RoundStarted, ViewDone
    from sa3d.objects.prompts import Prompt, PromptKeywords
    from sa3d.objects.segmentation import ObjectResult, Segmentation
    from sa3d.scene.config import PrepareConfig
    from sa3d.scene.events import ViewPrepared
    from sa3d.scene.scene import Scene
    from sa3d.scene.views import View
    from sa3d.search.config import EverythingConfig
    from sa3d.segmenters.loading import load_segmenter
    from sa3d.segmenters.protocol import PromptableSegmenter

# Without ``open``: ``from sa3d import *`` must not replace the built-in function.
__all__ = [
    "Camera",
    "EverythingConfig",
    "Finished",
    "LoopConfig",
    "MeshConfig",
    "ObjectResult",
    "OpenScene",
    "PointCloudConfig",
    "PrepareConfig",
    "Prompt",
    "PromptKeywords",
    "PromptableSegmenter",
    "RadianceField",
    "RoundDone",
    "RoundStarted",
    "SA3DError",
    "Scene",
    "Segmentation",
    "SegmentedObject",
    "Session",
    "Settings",
    "TextDetector",
    "View",
    "ViewDone",
    "ViewPrepared",
    "load",
    "load_detector",
    "load_segmenter",
]

# Imported at their first use, so that importing sa3d loads neither torch nor Nerfstudio.
_MODULES = {
    "nerfstudio_plugin.api.open_scene": ("OpenScene", "SegmentedObject"),
    "nerfstudio_plugin.api.opening": ("load", "open"),
    "sa3d.detectors.loading": ("load_detector",),
    "sa3d.detectors.protocol": ("TextDetector",),
    "sa3d.export.config": ("MeshConfig", "PointCloudConfig"),
    "sa3d.fields.radiance_field": ("RadianceField",),
    "sa3d.geometry.camera": ("Camera",),
    "sa3d.loop.config": ("LoopConfig",),
    "sa3d.loop.session": ("Session",),
    "sa3d.loop.settings": ("Settings",),
    "sa3d.objects.events": ("Finished", "RoundDone", "RoundStarted", "ViewDone"),
    "sa3d.objects.prompts": ("Prompt", "PromptKeywords"),
    "sa3d.objects.segmentation": ("ObjectResult", "Segmentation"),
    "sa3d.scene.config": ("PrepareConfig",),
    "sa3d.scene.events": ("ViewPrepared",),
    "sa3d.scene.scene": ("Scene",),
    "sa3d.scene.views": ("View",),
    "sa3d.search.config": ("EverythingConfig",),
    "sa3d.segmenters.loading": ("load_segmenter",),
    "sa3d.segmenters.protocol": ("PromptableSegmenter",),
}
_LAZY = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'sa3d' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_LAZY})
