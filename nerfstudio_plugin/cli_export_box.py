"""``sa3d export box``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from nerfstudio_plugin.cli_export_options import Export3DOptions
from nerfstudio_plugin.cli_progress import ERR, OUT
from sa3d.export.box import BoxConfig, export_boxes

HELP = """Write the oriented bounding boxes of objects as JSON, and print the flags for ns-export.

The JSON is in the frame chosen; the --obb_* flags are in Nerfstudio's, where ns-export works.

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
    """A .json file for all objects chosen, or a folder for a file per object."""
    box: BoxConfig = field(default_factory=BoxConfig)

    kind: ClassVar[str] = "box"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    def run(self) -> dict[str, Any]:
        """Write the boxes; returns the report."""
        opened = self.reopen()
        placement = opened.placement(self.frame)
        files = {}
        for place, names in self.gathered(opened.segmentation, ".json").items():
            with ERR.status(f"box of {', '.join(names)}"):
                entries = export_boxes(
                    opened.scene,
                    opened.segmentation,
                    names,
                    place,
                    placement=placement,
                    config=self.box,
                    overwrite=self.overwrite,
                )
            dimensions = {entry["name"]: entry["dimensions"] for entry in entries}
            self.leave_manifest(
                opened,
                place,
                names,
                placement=placement,
                settings=self.box,
                result={"dimensions": dimensions},
            )
            for entry in entries:
                size = " x ".join(f"{side:.4g}" for side in entry["dimensions"])
                OUT.print(f"{entry['name']}: {size} in {place}")
                OUT.print(f"  {entry['ns_export']['flags']}")
                files[entry["name"]] = {"file": str(place), **entry}
        return {"kind": self.kind, "frame": self.frame, "files": files}
