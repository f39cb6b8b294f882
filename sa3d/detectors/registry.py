"""Text detectors by short name: where their weights are, how large they are, who may have them."""

from __future__ import annotations

from sa3d.segmenters.registry import SegmenterInfo as DetectorInfo

DEFAULT = "grounding-dino-tiny"
"""The detector that is fetched where none is on this machine and none was named."""

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
"""All short names, in the order they are listed. The ranks are the papers'; the seconds of the
first and third were measured with random weights, the others scaled from those."""
