"""``sa3d next-view``: the views in which a click helps most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nerfstudio_plugin.cli.options import ReportOptions, SavedOptions, run
from nerfstudio_plugin.cli.terminal import OUT

_HELP = """Rank the views by how much a click in them is expected to help, and say why:
the area expected to be wrong there, as a share of the object's largest area in any view.

Counts the area where the votes leave doubt, and where a view's own mask and the other views differ.
No view is segmented and no NeRF is rendered.

examples:
  sa3d next-view --segmentation kettle
  sa3d next-view --segmentation all --objects mug ball --count 3 --json next.json
"""


@dataclass(kw_only=True)
class NextViewCommand(ReportOptions, SavedOptions):
    """Rank views by how much a click in them is expected to help."""

    count: int = 5
    """Views listed per object."""


def main(arguments: Sequence[str]) -> None:
    """Run ``sa3d next-view``.

    Raises:
        SA3DError: a problem that the user can solve.
    """
    run(_run, NextViewCommand, arguments, "sa3d next-view", _HELP)


def _run(command: NextViewCommand) -> None:
    from sa3d.results.next_view import check_count

    check_count(command.count)
    opened = command.reopen()
    names = command.chosen(opened.segmentation)
    ranked = {name: opened[name].next_views(command.count) for name in names}
    for name, views in ranked.items():
        for number, one in enumerate(views, start=1):
            OUT.print(f"{name}  {number}. {one.view}  {one.score:.3f}  {one.reason}")
    objects = {name: [one.to_json() for one in views] for name, views in ranked.items()}
    command.write_report({"kind": "next views", "objects": objects})
