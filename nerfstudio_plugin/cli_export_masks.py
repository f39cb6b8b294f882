"""``sa3d export masks``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from nerfstudio_plugin.cli_export_options import ExportOptions
from nerfstudio_plugin.cli_progress import ERR, OUT
from nerfstudio_plugin.cli_saved import Reopened
from sa3d.errors import SA3DError
from sa3d.export.coco import write_coco
from sa3d.export.masks import (
    PhotoMasks,
    write_colmap_masks,
    write_cutouts,
    write_label_maps,
    write_masks,
)
from sa3d.export.training_set import (
    Keep,
    data_set_transforms,
    run_transforms,
    write_training_set,
)
from sa3d.mask_refinement import RefinementConfig

HELP = """Write a mask of every photograph, at its own size.

layouts:
  plain       <output>/<object>/<image>.png, 255 object, 0 elsewhere
  rgba        <output>/<object>/<image>.png, the photo, opaque where the object is
  labels      <output>/<image>.png, 0 background, 1 the first object, 2 the second, ...
  coco        <output>, one JSON with run-length encoded masks of all objects
  colmap      <output>/masks/<image>.jpg.png, for COLMAP's ImageReader.mask_path
  nerfstudio  <output>/transforms.json and masks/, for ns-train nerfacto --data <output>

examples:
  sa3d export masks --segmentation ball --output ball_masks
  sa3d export masks --segmentation ball --output without_ball --layout nerfstudio --keep rest
  sa3d export masks --segmentation all_objects --output all_objects.json --layout coco
"""


@dataclass(kw_only=True)
class Export(ExportOptions):
    """Masks of the photographs."""

    output: Path
    """Folder for the masks; for coco a .json file."""
    layout: Literal["plain", "rgba", "labels", "coco", "colmap", "nerfstudio"] = "plain"
    """Names, folders and kind of the files."""
    keep: Keep = "object"
    """colmap and nerfstudio: what is white, the objects or everything but them."""
    crop: bool = False
    """rgba: cut the pictures to the object's box."""
    refine: bool = True
    """Move the masks' edges to those of the photo nearby."""
    refinement: RefinementConfig = field(default_factory=RefinementConfig)

    kind: ClassVar[str] = "masks"

    def run(self) -> dict[str, Any]:
        """Write the masks; returns the report."""
        if self.layout == "coco" and self.output.suffix.lower() != ".json":
            raise SA3DError(f"coco is one file: name it with .json, as in {self.output}.json")
        opened = self.reopen()
        names = tuple(self.chosen(opened.segmentation))
        masks = PhotoMasks(
            opened.scene, opened.segmentation, names, self.refinement if self.refine else None
        )
        report: dict[str, Any] = {
            "kind": self.kind,
            "layout": self.layout,
            "views": len(masks.views),
        }
        with ERR.status("writing masks"):
            if self.layout in ("plain", "rgba"):
                files = self._write_each(opened, masks)
                return report | {"files": files}
            result = self._write_together(opened, masks)
        self._leave(opened, self.output, names, result)
        OUT.print(f"{', '.join(names)}: {len(masks.views)} views in {self.output}")
        return report | {"files": {"all": str(self.output)}, **result}

    def _write_each(self, opened: Reopened, masks: PhotoMasks) -> dict[str, str]:
        """Layouts with a folder per object."""
        if self.layout == "plain":
            folders = write_masks(masks, self.output, overwrite=self.overwrite)
        else:
            folders = write_cutouts(masks, self.output, crop=self.crop, overwrite=self.overwrite)
        for name, folder in zip(masks.names, folders, strict=True):
            self._leave(opened, folder, [name], {})
            OUT.print(f"{name}: {len(masks.views)} masks in {folder}")
        return {name: str(folder) for name, folder in zip(masks.names, folders, strict=True)}

    def _write_together(self, opened: Reopened, masks: PhotoMasks) -> dict[str, Any]:
        """Layouts that hold all objects; returns what else the manifest says."""
        if self.layout == "coco":
            return {"annotations": write_coco(masks, self.output, overwrite=self.overwrite)}
        if self.layout == "labels":
            write_label_maps(masks, self.output, overwrite=self.overwrite)
            return {"labels": {name: i for i, name in enumerate(masks.names, start=1)}}
        if self.layout == "colmap":
            invert = self.keep == "rest"
            write_colmap_masks(masks, self.output, invert=invert, overwrite=self.overwrite)
            return {"white": self.keep}
        own = data_set_transforms(opened.run.data, masks.views)
        transforms = own or run_transforms(masks.views, opened.placement("original"))
        write_training_set(masks, self.output, transforms, keep=self.keep, overwrite=self.overwrite)
        return {"white": self.keep, "cameras": "the data set's" if own else "the run's"}

    def _leave(self, opened: Reopened, place: Path, names: Any, result: Mapping[str, Any]) -> None:
        self.leave_manifest(
            opened,
            place,
            names,
            settings=self.refinement if self.refine else None,
            result={"layout": self.layout, **result},
        )
