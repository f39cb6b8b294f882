"""Radiance fields, written as runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from nerfstudio_plugin.exports.options import ExportOptions, Written
from sa3d.base.storage import all_or_none
from sa3d.results.config import Keep

if TYPE_CHECKING:
    from nerfstudio_plugin.display.object_blocks import Blocks
    from nerfstudio_plugin.exports.field_export import ExportedField
    from nerfstudio_plugin.saved.segmentation_folder import ExportSource

HELP = """Write a Nerfstudio run that shows only the objects, or the scene without them.

ns-viewer, ns-render and ns-export open it like any run, if this package is installed. It contains
the NeRF's weights, so the original run is not needed any more, but its photos and cameras are.

examples:
  sa3d export field --segmentation kettle --output outputs/kettle_only
  sa3d export field --segmentation all --objects kettle cup --keep rest --output outputs/cleared
"""


@dataclass(kw_only=True)
class Export(ExportOptions):
    """A radiance field."""

    output: Path
    """Folder of the new run."""
    keep: Keep = "object"
    """object: only the objects; rest: the scene without them."""
    background: Literal["white", "black"] = "white"
    """Background of the objects; the scene without them keeps the background of its training."""

    kind: ClassVar[str] = "field"

    def check(self) -> None:
        """Refuse a folder that must not be replaced; see ``ExportOptions.check``."""
        from nerfstudio_plugin.exports.field_export import refuse_field

        refuse_field(self.output, self.overwrite)

    def write(self, opened: ExportSource, names: Sequence[str]) -> Iterator[Written]:
        """Write the run; see ``ExportOptions.write``."""
        from nerfstudio_plugin.display.object_blocks import Block, Blocks
        from nerfstudio_plugin.exports.field_export import FieldExportConfig, export_field
        from sa3d.results.object_volume import object_volume

        config = FieldExportConfig(self.keep, self.background)
        volumes = [object_volume(opened.scene, opened.segmentation, name) for name in names]
        blocks = Blocks(tuple(Block.around(volume) for volume in volumes))
        with all_or_none():
            written = export_field(
                opened.run, blocks, self.output, config, overwrite=self.overwrite
            )
            commands = _commands(written, blocks if self.keep == "object" else None)
            result = {"visible_share": written.visible, "commands": commands}
            self.write_manifest(
                opened,
                written.config.parent,
                names,
                files=[written.config, written.checkpoint],
                placement=opened.placement("nerfstudio"),
                settings=config,
                result=result,
            )
        summary = f"{self.keep}: {', '.join(names)} in {self.output}; open it with"
        facts = {"keep": self.keep, "objects": list(names), **result}
        lines = [summary, *(f"  {command}" for command in commands)]
        yield Written(written.config.parent, lines, facts=facts)


def _commands(written: ExportedField, blocks: Blocks | None) -> list[str]:
    """Return commands to use the run; the mesh of objects alone is limited to their box."""
    config, name = shlex.quote(str(written.config)), shlex.quote(written.config.parent.name)
    normals = "" if written.has_normals else " --normal-method open3d"
    box = ""
    if blocks is not None:
        low, high = blocks.box()
        box = f" --bounding-box-min {_numbers(low)} --bounding-box-max {_numbers(high)}"
    return [
        f"ns-viewer --load-config {config}",
        f"ns-render dataset --load-config {config} --output-path renders/{name}"
        " --split train+test --rendered-output-names rgb depth accumulation rgba",
        f"ns-export pointcloud --load-config {config} --output-dir exports/{name}"
        f" --num-points 100000{normals}",
        f"ns-export tsdf --load-config {config} --output-dir exports/{name}"
        f" --texture-method tsdf{box}",
    ]


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)
