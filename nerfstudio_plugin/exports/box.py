"""Oriented bounding boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from nerfstudio_plugin.exports.options import Export3DOptions, Written
from sa3d.base.storage import all_or_none
from sa3d.export.config import BoxConfig

if TYPE_CHECKING:
    from nerfstudio_plugin.saved.segmentation_folder import ExportSource

HELP = """Write the oriented bounding boxes of objects as JSON, and print the flags for ns-export.

The boxes are in the chosen frame; the --obb_* flags are in Nerfstudio's, as ns-export needs them.

examples:
  sa3d export box --segmentation ball --output ball.json
  sa3d export box --segmentation all_objects --output boxes.json --box.upright
  ns-export pointcloud --load-config RUN/config.yml --output-dir cloud \\
      --obb_center ... --obb_rotation ... --obb_scale ...        (as printed)
"""


@dataclass(kw_only=True)
class Export(Export3DOptions):
    """Oriented bounding boxes."""

    output: Path
    """A .json file for all chosen objects, or a folder that gets a file for each object."""
    box: BoxConfig = field(default_factory=BoxConfig)

    kind: ClassVar[str] = "box"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    def write(self, opened: ExportSource, names: Sequence[str]) -> Iterator[Written]:
        """Write the boxes; see ``ExportOptions.write``."""
        from sa3d.export.box import export_boxes

        placement = opened.placement(self.frame)
        for place, contained in self.files_of(names, ".json").items():
            with all_or_none():
                entries = export_boxes(
                    opened.scene,
                    opened.segmentation,
                    contained,
                    place,
                    placement=placement,
                    config=self.box,
                    overwrite=self.overwrite,
                )
                dimensions = {entry["name"]: entry["dimensions"] for entry in entries}
                result = {"dimensions": dimensions}
                self.write_manifest(
                    opened, place, contained, placement=placement, settings=self.box, result=result
                )
            lines = []
            for entry in entries:
                size = " x ".join(f"{side:.4g}" for side in entry["dimensions"])
                lines += [f"{entry['name']}: {size} in {place}", f"  {entry['ns_export']['flags']}"]
            by_name = {entry["name"]: {"file": str(place), **entry} for entry in entries}
            yield Written(place, lines, by_name, {"frame": self.frame})
