"""``sa3d export masks``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nerfstudio_plugin.cli_export_options import ExportOptions
from nerfstudio_plugin.cli_progress import ERR, OUT
from sa3d.export.masks import export_masks

HELP = """Write a mask of every photograph, at its own size: 255 object, 0 elsewhere.

example:
  sa3d export masks --segmentation ball --output ball_masks
"""


@dataclass(kw_only=True)
class Export(ExportOptions):
    """Masks of the photographs."""

    output: Path
    """Folder for the masks, one subfolder per object."""

    kind: ClassVar[str] = "masks"

    def run(self) -> dict[str, Any]:
        """Write the masks; returns the report."""
        opened = self.reopen()
        names = self.chosen(opened.segmentation)
        with ERR.status("writing masks"):
            folders = export_masks(
                opened.scene, opened.segmentation, self.output, names, overwrite=self.overwrite
            )
        files = dict(zip(names, folders, strict=True))
        for name, folder in files.items():
            self.leave_manifest(opened, folder, [name])
            OUT.print(f"{name}: {len(opened.scene.views)} masks in {folder}")
        return {
            "kind": self.kind,
            "views": len(opened.scene.views),
            "files": {name: str(folder) for name, folder in files.items()},
        }
