"""``sa3d report``: a segmentation as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from nerfstudio_plugin.cli.options import ReportOptions, SavedOptions, run
from nerfstudio_plugin.cli.terminal import OUT, progress_bar
from sa3d.base.errors import SA3DError
from sa3d.base.storage import all_or_none, atomic_path, check_new_file
from sa3d.export.config import Frame
from sa3d.report.config import ReportConfig

_HELP = """Write one self-contained HTML page about a segmentation.

For every object: the prompts, the verdict, the rounds, views with the mask, views that were
rejected and why, where the doubt is, and the object turning. The page also lists the exports found
beside the segmentation.

examples:
  sa3d report --segmentation ball --output ball.html
  sa3d report --segmentation ball --output ball.html --no-turntable      (seconds, not minutes)
  sa3d report --segmentation ball --output ball.html --exports meshes clouds
"""


@dataclass(kw_only=True)
class Report(ReportOptions, SavedOptions):
    """Write one self-contained HTML page about a segmentation."""

    output: Path
    """The .html file."""
    overwrite: bool = False
    """Replace what is there already."""
    frame: Frame = "original"
    """Frame that gives the unit of lengths."""
    exports: tuple[Path, ...] = ()
    """Folders whose exports are listed, beside the segmentation's parent folder."""
    report: Annotated[ReportConfig, tyro.conf.arg(name="")] = field(default_factory=ReportConfig)


def main(arguments: Sequence[str]) -> None:
    """Run ``sa3d report``.

    Raises:
        SA3DError: a problem that the user can solve.
    """
    run(_run, Report, arguments, "sa3d report", _HELP)


def _run(command: Report) -> None:
    if command.output.suffix.lower() not in (".html", ".htm"):
        raise SA3DError(f"a report is written as .html, not as {command.output.name!r}")
    check_new_file(command.output, command.overwrite)
    from nerfstudio_plugin.exports.options import source
    from sa3d.export.manifest import find_exports, write_manifest
    from sa3d.report.page import images_per_object, report_page

    reopened = command.reopen()
    opened = reopened.export_source
    names = command.chosen(opened.segmentation)
    folders = (command.segmentation.resolve().parent, *command.exports)
    origin = source(opened)
    with progress_bar() as bar:
        each = images_per_object(command.report)
        tasks = {name: bar.add_task(f"{name}: pictures", total=each) for name in names}
        page = report_page(
            opened.scene,
            opened.segmentation,
            names,
            origin,
            config=command.report,
            placement=opened.placement(command.frame),
            min_agreement=reopened.settings.loop.min_agreement,
            exports=find_exports(command.segmentation, folders),
            title=", ".join(names) if len(names) < 4 else f"{len(names)} objects",
            progress=lambda name: bar.advance(tasks[name]),
        )
    with all_or_none():
        with atomic_path(command.output) as temporary:
            temporary.write_text(page, encoding="utf-8")
        write_manifest(
            command.output, "report", opened.segmentation, names, origin, settings=command.report
        )
    size = command.output.stat().st_size
    OUT.print(f"report: {command.output} ({size / 1e6:.1f} MB)")
    command.write_report(
        {"kind": "report", "file": str(command.output), "bytes": size, "objects": list(names)}
    )
