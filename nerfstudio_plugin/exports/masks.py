"""Masks of the photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nerfstudio_plugin.exports.options import ExportOptions, Written
from sa3d.base.errors import SA3DError
from sa3d.base.storage import all_or_none
from sa3d.results.config import Keep, RefinementConfig

if TYPE_CHECKING:
    from nerfstudio_plugin.saved.segmentation_folder import ExportSource
    from sa3d.export.masks import PhotoMasks

HELP = """Write a mask of every photo, at the size of the photo.

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
    """Masks of the photos."""

    output: Path
    """Folder of the masks; for coco, a .json file."""
    layout: Literal["plain", "rgba", "labels", "coco", "colmap", "nerfstudio"] = "plain"
    """Names and contents of the files; see above."""
    keep: Keep = "object"
    """colmap and nerfstudio: the white part, the objects or everything but the objects."""
    crop: bool = False
    """rgba: crop the images to the object's box."""
    refine: bool = True
    """Move the edges of the masks to edges in the photo nearby."""
    refinement: RefinementConfig = field(default_factory=RefinementConfig)

    kind: ClassVar[str] = "masks"

    def check(self) -> None:
        """Check the options; see ``ExportOptions.check``."""
        if self.layout == "coco" and self.output.suffix.lower() != ".json":
            raise SA3DError(f"coco is one file: use a name with .json, such as {self.output}.json")

    def write(self, opened: ExportSource, names: Sequence[str]) -> Iterator[Written]:
        """Write the masks; see ``ExportOptions.write``."""
        from sa3d.export.masks import PhotoMasks

        refinement = self.refinement if self.refine else None
        masks = PhotoMasks(opened.scene, opened.segmentation, tuple(names), refinement)
        with all_or_none():
            places, result = self._write(opened, masks)
            result = {"layout": self.layout, "views": len(masks.views), **result}
            for place, contained in places.items():
                self.write_manifest(opened, place, contained, settings=refinement, result=result)
        for place, contained in places.items():
            line = f"{', '.join(contained)}: {len(masks.views)} views in {place}"
            yield Written(place, [line], dict.fromkeys(contained, str(place)), result)

    def _write(
        self, opened: ExportSource, masks: PhotoMasks
    ) -> tuple[dict[Path, Sequence[str]], dict[str, Any]]:
        """Write the layout; return its files or folders with their objects, and facts for JSON."""
        from sa3d.export.masks import (
            write_coco,
            write_colmap_masks,
            write_cutouts,
            write_label_maps,
            write_masks,
        )
        from sa3d.export.training_set import data_set_transforms, run_transforms, write_training_set

        output, overwrite = self.output, self.overwrite
        together: dict[Path, Sequence[str]] = {output: masks.names}
        if self.layout == "plain":
            folders = write_masks(masks, output, overwrite=overwrite)
            return {folder: [n] for folder, n in zip(folders, masks.names, strict=True)}, {}
        if self.layout == "rgba":
            folders = write_cutouts(masks, output, crop=self.crop, overwrite=overwrite)
            return {folder: [n] for folder, n in zip(folders, masks.names, strict=True)}, {}
        if self.layout == "labels":
            write_label_maps(masks, output, overwrite=overwrite)
            return together, {"labels": {name: i for i, name in enumerate(masks.names, start=1)}}
        if self.layout == "coco":
            return together, {"annotations": write_coco(masks, output, overwrite=overwrite)}
        if self.layout == "colmap":
            folder = write_colmap_masks(
                masks, output, invert=self.keep == "rest", overwrite=overwrite
            )
            return {folder: masks.names}, {"white": self.keep}
        own = data_set_transforms(opened.run.data, masks.views)
        transforms = own or run_transforms(masks.views, opened.placement("original"))
        write_training_set(masks, output, transforms, keep=self.keep, overwrite=overwrite)
        return together, {"white": self.keep, "cameras": "data set" if own else "run"}
