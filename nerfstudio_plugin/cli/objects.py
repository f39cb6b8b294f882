"""``sa3d objects``: list, rename, paint, add, merge, split and delete a segmentation's objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from nerfstudio_plugin.cli.object_edits import Add, Color, Delete, Merge, Rename, Split
from nerfstudio_plugin.cli.options import ReportOptions, parse
from nerfstudio_plugin.cli.progress import OUT, table
from sa3d.base.errors import SA3DError
from sa3d.objects.checkpoint import load_segmentation
from sa3d.objects.colors import hex_color

_OVERVIEW = """usage: sa3d objects ACTION ... --segmentation DIR [OPTIONS]

actions:
  list                  names, colors, sizes and verdicts
  rename OLD NEW        call an object otherwise
  color NAME COLOR    show an object in another color
  add NAME              cut out one more object, marked with a prompt
  merge A B ... --into  one object of several; no view is asked again
  split NAME --new      make a part of an object, marked with a prompt, an object of its own
  delete NAME ...       forget objects

examples:
  sa3d objects list --segmentation all
  sa3d objects rename object_3 mug --segmentation all
  sa3d objects color mug '#d55e00' --segmentation all
  sa3d objects add spoon --view 000024.jpg --points 127,207 --segmentation all
  sa3d objects merge cup saucer --into cup --segmentation all
  sa3d objects split bottle --new cap --view 000024.jpg --points 127,207 --segmentation all
  sa3d objects delete object_5 --segmentation all --output fewer

Everything but list replaces the folder by the changed one, or writes another: --output. List and
rename read nothing but the folder; the others open the run to draw overlay.png again.

  sa3d objects ACTION --help   all options of an action
"""


@dataclass(kw_only=True)
class List(ReportOptions):
    """Names, colors, sizes and verdicts of the objects."""

    segmentation: Path
    """Folder written by sa3d segment."""

    def run(self) -> None:
        """Print the table."""
        segmentation = load_segmentation(self.segmentation).segmentation
        labels, colors = segmentation.labels(), segmentation.colors
        rows = [
            {
                "name": name,
                "color": hex_color(colors[name]),
                "elements": int((labels == number).sum()),
                "prompts": len(one.prompts),
                "verdict": one.verdict,
            }
            for number, (name, one) in enumerate(segmentation.objects.items())
        ]
        shown = [
            (
                row["name"],
                Text.assemble(("■", row["color"]), f" {row['color']}"),
                f"{row['elements']}",
                str(row["prompts"]),
            )
            for row in rows
        ]
        OUT.print(table(("object", "color", "elements", "prompts"), shown))
        for row in rows:
            OUT.print(f"{row['name']}: {row['verdict']}")
        self.write_report({"objects": rows})


_ACTIONS = {
    "list": List,
    "rename": Rename,
    "color": Color,
    "add": Add,
    "merge": Merge,
    "split": Split,
    "delete": Delete,
}


def main(arguments: Sequence[str]) -> None:
    """Run ``sa3d objects``.

    Raises:
        SA3DError: something the user can put right.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        OUT.print(_OVERVIEW)
        return
    action = arguments[0]
    if action not in _ACTIONS:
        raise SA3DError(f"unknown action {action!r}; there are: {', '.join(_ACTIONS)}")
    kind = _ACTIONS[action]
    prog = f"sa3d objects {action}"
    example = next(line for line in _OVERVIEW.splitlines() if line.startswith(f"  {prog} "))
    command = parse(kind, arguments[1:], prog, f"{kind.__doc__}\n\nexample:\n{example}\n")
    command.run()
