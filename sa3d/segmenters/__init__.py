"""Promptable segmenters, one file per backend."""

from __future__ import annotations

from pathlib import Path

from sa3d.errors import SA3DError
from sa3d.segmenter import PromptableSegmenter

SAM_WEIGHTS = {
    "sam-base": "facebook/sam-vit-base",
    "sam-large": "facebook/sam-vit-large",
    "sam-huge": "facebook/sam-vit-huge",
    "sam2.1-tiny": "facebook/sam2.1-hiera-tiny",
    "sam2.1-small": "facebook/sam2.1-hiera-small",
    "sam2.1-base-plus": "facebook/sam2.1-hiera-base-plus",
    "sam2.1-large": "facebook/sam2.1-hiera-large",
}
"""Short names of weights on the Hugging Face hub."""

KNOWN_SEGMENTERS = ("graphcut", *SAM_WEIGHTS)
"""Names for :func:`load_segmenter`; hub ids and local folders are taken too."""


def load_segmenter(name: str, device: str = "cpu") -> PromptableSegmenter:
    """The segmenter called ``name``.

    Args:
        name: "graphcut" (embedded, no weights), a short name of SAM weights, a hub id
            ("owner/name") or a folder with SAM weights.
        device: torch device for SAM; the graph cut runs on the CPU.

    Raises:
        SA3DError: the name is unknown, or the weights cannot be had.
    """
    if name == "graphcut":
        from sa3d.segmenters.graphcut import GraphCutSegmenter

        return GraphCutSegmenter()
    is_folder = bool(name) and Path(name).expanduser().is_dir()
    is_hub_id = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    if name in SAM_WEIGHTS or is_folder or is_hub_id:
        from sa3d.segmenters.sam import SamSegmenter

        weights = str(Path(name).expanduser()) if is_folder else SAM_WEIGHTS.get(name, name)
        return SamSegmenter(weights, device)
    raise SA3DError(
        f"unknown segmenter {name!r}; known: {', '.join(KNOWN_SEGMENTERS)},"
        " a hub id (owner/name), or a folder with SAM weights"
    )
