"""Loads segmenters by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sa3d.base.errors import SA3DError
from sa3d.hub.files import is_hub_id
from sa3d.segmenters.choice import resolve_segmenter
from sa3d.segmenters.registry import AUTO, EMBEDDED, KNOWN_SEGMENTERS, REGISTRY

if TYPE_CHECKING:
    from sa3d.segmenters.protocol import PromptableSegmenter


def load_segmenter(name: str, device: str = "cpu") -> PromptableSegmenter:
    """Load a segmenter.

    Args:
        name: "graphcut" (embedded, no weights), "auto" (the best one on this machine), a short name
            (see ``sa3d.segmenters.registry``), a hub id ("owner/name"), or a folder or
            .safetensors file with weights of SAM or one of its relatives.
        device: torch device for SAM; the graph cut runs on the CPU.

    Raises:
        SA3DError: the name is unknown, the weights are not available, or they do not fit into
            memory.

    Example:
        >>> segmenter = load_segmenter("graphcut")
        >>> segmenter.set_image(image)
        >>> segmenter.predict(box=np.array([40, 30, 200, 180])).masks.shape
        (1, 480, 640)
    """
    check_segmenter(name)
    name = resolve_segmenter(name, device).name
    if name == EMBEDDED:
        from sa3d.segmenters.graphcut.segmenter import GraphCutSegmenter

        return GraphCutSegmenter()
    from sa3d.segmenters.sam.loading import load_sam

    known = REGISTRY.get(name)
    return load_sam(known.hub_id if known and known.hub_id else name, device)


def check_segmenter(name: str) -> None:
    """Check that ``load_segmenter`` accepts a name, without loading anything.

    Raises:
        SA3DError: the name is unknown.
    """
    if name in (AUTO, EMBEDDED, *REGISTRY) or is_hub_id(name):
        return
    if name and Path(name).expanduser().exists():
        return
    raise SA3DError(
        f"unknown segmenter {name!r}; known: {', '.join(KNOWN_SEGMENTERS)}, a hub id (owner/name),"
        " or a folder or .safetensors file with SAM weights"
    )
