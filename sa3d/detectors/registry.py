"""Text detectors by short name: their weights, sizes, speeds and licences."""

from __future__ import annotations

from sa3d.segmenters.registry import SegmenterInfo as DetectorInfo

DEFAULT = "grounding-dino-tiny"
"""The detector that is downloaded if none is named and none is on this machine."""

REGISTRY: dict[str, DetectorInfo] = {
    info.name: info
    for info in (
        DetectorInfo(DEFAULT, "IDEA-Research/grounding-dino-tiny", 4, 172, 690, 9),
        DetectorInfo("grounding-dino-base", "IDEA-Research/grounding-dino-base", 3, 233, 933, 18),
        DetectorInfo("owlv2-base", "google/owlv2-base-patch16-ensemble", 5, 155, 620, 7),
        DetectorInfo("owlv2-large", "google/owlv2-large-patch14-ensemble", 2, 437, 1750, 60),
        DetectorInfo("sam3", "facebook/sam3", 1, 840, 3440, 90, "SAM License", gated=True),
    )
}
"""Detectors by short name, in the order of listings. The ranks are from the models' papers. The
seconds of the first and the third were measured with random weights; the others are scaled."""
