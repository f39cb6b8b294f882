"""Segmenters by short name: their weights, sizes, speeds and licences."""

from __future__ import annotations

from dataclasses import dataclass

EMBEDDED = "graphcut"
"""The segmenter without weights, which is always available."""

AUTO = "auto"
"""Name for the best segmenter whose weights are on this machine."""


@dataclass(frozen=True)
class SegmenterInfo:
    """A segmenter as described before it is loaded.

    Attributes:
        name: short name that ``load_segmenter`` takes.
        hub_id: of its weights on the Hugging Face hub; None for the embedded one.
        rank: expected quality of its masks, 1 is the best; from the models' papers, not measured.
        parameters_m: millions of parameters used.
        download_mb: approximate size of the weights' file.
        cpu_s: approximate seconds to encode a view on two idle CPU cores; those of the largest
            models are extrapolated. docs/segmenters.md has measurements on a shared machine.
        licence: of the weights.
        gated: whether the hub gives access to the weights on request only.
    """

    name: str
    hub_id: str | None
    rank: int
    parameters_m: float
    download_mb: int
    cpu_s: float
    licence: str = "Apache-2.0"
    gated: bool = False


REGISTRY: dict[str, SegmenterInfo] = {
    info.name: info
    for info in (
        SegmenterInfo(EMBEDDED, None, 99, 0, 0, 0.1),
        SegmenterInfo("slimsam-77", "Zigeng/SlimSAM-uniform-77", 14, 9.7, 39, 3),
        SegmenterInfo("slimsam-50", "Zigeng/SlimSAM-uniform-50", 13, 28, 113, 8),
        SegmenterInfo("edgetam", "yonigozlan/EdgeTAM-hf", 11, 9.1, 56, 1),
        SegmenterInfo("sam2.1-tiny", "facebook/sam2.1-hiera-tiny", 9, 31, 156, 3),
        SegmenterInfo("sam2.1-small", "facebook/sam2.1-hiera-small", 8, 39, 184, 4),
        SegmenterInfo("sam2.1-base-plus", "facebook/sam2.1-hiera-base-plus", 4, 73, 323, 6),
        SegmenterInfo("sam2.1-large", "facebook/sam2.1-hiera-large", 2, 217, 898, 14),
        SegmenterInfo("sam-base", "facebook/sam-vit-base", 12, 94, 375, 11),
        SegmenterInfo("sam-large", "facebook/sam-vit-large", 7, 312, 1250, 25),
        SegmenterInfo("sam-huge", "facebook/sam-vit-huge", 6, 641, 2564, 50),
        SegmenterInfo("sam-hq-base", "syscv-community/sam-hq-vit-base", 10, 95, 380, 11),
        SegmenterInfo("sam-hq-large", "syscv-community/sam-hq-vit-large", 5, 314, 1260, 25),
        SegmenterInfo("sam-hq-huge", "syscv-community/sam-hq-vit-huge", 3, 643, 2570, 50),
        SegmenterInfo("sam3", "facebook/sam3", 1, 458, 3440, 60, "SAM License", gated=True),
    )
}
"""Segmenters by short name, in the order of listings."""

KNOWN_SEGMENTERS = (AUTO, *REGISTRY)
"""Names that ``load_segmenter`` takes, beside hub ids, folders and files."""


def label_of(hub_id: str) -> str:
    """Return the short name of a hub id, or the id itself if it has none."""
    return next((info.name for info in REGISTRY.values() if info.hub_id == hub_id), hub_id)
