"""``sa3d export``: writes a segmentation for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import make_dataclass
from typing import Any

from nerfstudio_plugin.cli.options import ReportOptions, SavedOptions, run
from nerfstudio_plugin.cli.terminal import ERR, OUT
from nerfstudio_plugin.exports import KINDS, kind_module

_OVERVIEW = """usage: sa3d export KIND --segmentation DIR --output PLACE [OPTIONS]

kinds:
{kinds}

  sa3d export KIND --help   all options of a kind

Beside every export lies <output>.manifest.json: checkpoint, prompts, threshold, frame, units.
"""


def main(arguments: Sequence[str]) -> None:
    """Run ``sa3d export``.

    Raises:
        SA3DError: a problem that the user can solve.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        OUT.print(_OVERVIEW.format(kinds="\n".join(f"  {k:<11} {v}" for k, v in KINDS.items())))
        return
    kind = arguments[0]
    module = kind_module(kind)
    run(_run, export_command(kind), arguments[1:], f"sa3d export {kind}", module.HELP)


def export_command(kind: str) -> Any:
    """Return the options of a kind of export, with those that name the segmentation."""
    bases = (kind_module(kind).Export, ReportOptions, SavedOptions)
    return make_dataclass("Export", (), bases=bases, kw_only=True)


def _run(command: Any) -> None:
    command.check()
    opened = command.reopen().export_source
    written = []
    with ERR.status(f"writing: {command.kind}"):
        for one in command.write(opened, command.chosen(opened.segmentation)):
            written.append(one)
            for line in one.lines:
                OUT.print(line)
    command.write_report(command.report(written))
