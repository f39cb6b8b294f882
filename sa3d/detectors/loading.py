"""Loads text detectors by name, and chooses one for a machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sa3d.base.errors import SA3DError
from sa3d.detectors.registry import DEFAULT, REGISTRY, DetectorInfo
from sa3d.hub.files import cached_folder, is_hub_id
from sa3d.segmenters.choice import PATIENCE_S
from sa3d.segmenters.registry import AUTO

if TYPE_CHECKING:
    from sa3d.detectors.protocol import TextDetector


def load_detector(name: str, device: str = "cpu") -> TextDetector:
    """Load a text detector.

    Args:
        name: "auto", a short name (see ``sa3d.detectors.registry``), a hub id ("owner/name"), or
            a folder with weights.
        device: torch device.

    Raises:
        SA3DError: the name is unknown, the weights are not available, or they do not fit into
            memory.
    """
    check_detector(name)
    from sa3d.detectors.hub_detectors import load_hub_detector

    name = choose_detector(device) if name == AUTO else name
    known = REGISTRY.get(name)
    return load_hub_detector(known.hub_id if known and known.hub_id else name, device)


def check_detector(name: str) -> None:
    """Check that ``load_detector`` accepts a name, without loading anything.

    Raises:
        SA3DError: the name is unknown.
    """
    if name in (AUTO, *REGISTRY) or is_hub_id(name):
        return
    if name and Path(name).expanduser().is_dir():
        return
    raise SA3DError(
        f"unknown detector {name!r}; known: {AUTO}, {', '.join(REGISTRY)}, a hub id (owner/name),"
        " or a folder with weights of Grounding DINO, OWLv2 or SAM 3"
    )


def choose_detector(device: str) -> str:
    """Choose the best detector for a device, among those with weights on this machine.

    Without any weights here, the default is chosen. Gated weights are used only if the user names
    them.
    """
    fast = [info for info in local_detectors() if device != "cpu" or info.cpu_s <= 2 * PATIENCE_S]
    usable = [info for info in fast if not info.gated]
    return min(usable, key=lambda info: info.rank).name if usable else DEFAULT


def local_detectors() -> list[DetectorInfo]:
    """Return the detectors of the registry whose weights are complete on this machine."""
    return [info for info in REGISTRY.values() if info.hub_id and cached_folder(info.hub_id)]
