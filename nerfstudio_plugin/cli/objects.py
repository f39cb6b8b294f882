"""``sa3d objects``: lists and changes the objects of a segmentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.text import Text

from nerfstudio_plugin.api.prompt_options import PromptOptions
from nerfstudio_plugin.cli.options import ChangeOptions, ReportOptions, run
from nerfstudio_plugin.cli.segment import load_detector_for
from nerfstudio_plugin.cli.terminal import (
    OUT,
    EventBar,
    event_bar,
    print_choices,
    print_folder,
    table,
)
from nerfstudio_plugin.runs.devices import torch_device
from sa3d.base.errors import SA3DError
from sa3d.objects.colors import free_color, hex_color, parse_color
from sa3d.objects.folder import read_summary
from sa3d.objects.names import check_new_name

if TYPE_CHECKING:
    from nerfstudio_plugin.api.open_scene import OpenScene
    from sa3d.objects.checkpoint import SavedSegmentation
    from sa3d.objects.segmentation import Segmentation

_OVERVIEW = """usage: sa3d objects ACTION ... --segmentation DIR [OPTIONS]

actions:
  list                  names, colors, sizes and verdicts
  rename OLD NEW        give an object another name
  color NAME COLOR      show an object in another color
  add NAME              cut out one more object, marked with a prompt
  merge A B ... --into  make one object of several; no view is visited again
  split NAME --new      split off a part, marked with a prompt, as a new object
  delete NAME ...       remove objects

examples:
  sa3d objects list --segmentation all
  sa3d objects rename object_3 mug --segmentation all
  sa3d objects color mug '#d55e00' --segmentation all
  sa3d objects add spoon --view 000024.jpg --points 127,207 --segmentation all
  sa3d objects merge cup saucer --into cup --segmentation all
  sa3d objects split bottle --new cap --view 000024.jpg --points 127,207 --segmentation all
  sa3d objects delete object_5 --segmentation all --output fewer

All actions but list replace the folder by the changed one, or write another: --output. List and
rename read the folder only; the others open the run to draw overlay.png again.

  sa3d objects ACTION --help   all options of an action
"""

_Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
_Names = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME [NAME ...]")]


def main(arguments: Sequence[str]) -> None:
    """Run ``sa3d objects``.

    Raises:
        SA3DError: a problem that the user can solve.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        OUT.print(_OVERVIEW)
        return
    action = arguments[0]
    if action not in ACTIONS:
        raise SA3DError(f"unknown action {action!r}; there are: {', '.join(ACTIONS)}")
    kind = ACTIONS[action]
    prog = f"sa3d objects {action}"
    example = next(line for line in _OVERVIEW.splitlines() if line.startswith(f"  {prog} "))
    description = f"{kind.__doc__}\n\nexample:\n{example}\n"
    run(kind.run, kind, arguments[1:], prog, description)


@dataclass(kw_only=True)
class List(ReportOptions):
    """Names, colors, sizes and verdicts of the objects."""

    segmentation: Path
    """Folder written by sa3d segment."""

    def run(self) -> None:
        """Print the table."""
        objects = read_summary(self.segmentation).objects
        rows = [
            (
                one.name,
                Text.assemble(("■", hex_color(one.color)), f" {hex_color(one.color)}"),
                str(one.elements),
                str(one.prompts),
            )
            for one in objects
        ]
        OUT.print(table(("object", "color", "elements", "prompts"), rows))
        for one in objects:
            OUT.print(f"{one.name}: {one.verdict}")
        report = [
            {
                "name": one.name,
                "color": hex_color(one.color),
                "elements": one.elements,
                "prompts": one.prompts,
                "verdict": one.verdict,
            }
            for one in objects
        ]
        self.write_report({"objects": report})


@dataclass(kw_only=True)
class _Edit(ReportOptions, ChangeOptions):
    """An action that writes a changed segmentation."""

    def change(self, segmentation: Segmentation) -> Segmentation:
        """Return the segmentation, changed as far as its run is not needed.

        Mistakes that need no run are reported here, before it is opened.

        Raises:
            SA3DError: the change is not possible.
        """
        raise NotImplementedError

    def change_in_scene(self, opened: OpenScene) -> Segmentation:
        """Return the segmentation, changed further now that its run is open.

        Raises:
            SA3DError: the change is not possible.
        """
        return opened.segmentation

    def run(self) -> None:
        """Change the segmentation and write it."""
        with self.alone():
            output, overwrite = self.place()
            loaded = self.load()
            changed = replace(loaded, segmentation=self.change(loaded.segmentation))
            report, segmentation = self.write(changed, output, overwrite)
        print_folder(output)
        OUT.print("objects: " + ", ".join(segmentation.objects))
        self.write_report(report)

    def write(
        self, changed: SavedSegmentation, output: Path, overwrite: bool
    ) -> tuple[Mapping[str, Any], Segmentation]:
        """Change the segmentation further in its scene, and write it with a new overlay.

        Returns:
            The report, and the segmentation as it was written.
        """
        from nerfstudio_plugin.saved.segmentation_folder import write_segmentation

        opened = self.reopen(changed)
        source = opened.export_source
        made = replace(source, segmentation=self.change_in_scene(opened))
        return write_segmentation(made, output, overwrite=overwrite), made.segmentation

    def change_some(
        self,
        opened: OpenScene,
        names: Sequence[str],
        edit: Callable[[OpenScene, EventBar], object],
    ) -> Segmentation:
        """Edit the named objects in a session of their own; the others stay bit for bit."""
        whole = opened.segmentation
        some = replace(whole, objects={name: whole.object(name) for name in names})
        alone = opened.with_objects(some)
        with event_bar() as bar:
            edit(alone, bar)
        made = alone.segmentation.objects
        objects = {}
        for name, one in whole.objects.items():
            objects |= made if name == names[0] else {} if name in names else {name: one}
        for name, one in made.items():
            OUT.print(f"{name}: {one.verdict}")
        return replace(whole, objects=objects)


@dataclass(kw_only=True)
class Rename(_Edit):
    """Give an object another name."""

    old: _Name
    """Present name of the object."""
    new: _Name
    """New name of the object."""

    def change(self, segmentation: Segmentation) -> Segmentation:
        """See the base class."""
        return segmentation.renamed(self.old, self.new)

    def write(
        self, changed: SavedSegmentation, output: Path, overwrite: bool
    ) -> tuple[Mapping[str, Any], Segmentation]:
        """Write without opening the run: the overlay shows no names, and stays as it is."""
        from nerfstudio_plugin.saved.segmentation_folder import write_renamed

        report = write_renamed(changed, self.segmentation, output, overwrite=overwrite)
        if report is None:
            return super().write(changed, output, overwrite)
        return report, changed.segmentation


@dataclass(kw_only=True)
class Color(_Edit):
    """Show an object in another color, in all images and exports that show several objects."""

    name: _Name
    """The object."""
    color: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="COLOR")]
    """#rrggbb, or r,g,b from 0 to 255."""

    def change(self, segmentation: Segmentation) -> Segmentation:
        """See the base class."""
        return segmentation.recolored(self.name, parse_color(self.color))


@dataclass(kw_only=True)
class Add(_Edit, PromptOptions):
    """Cut out one more object, marked in any view; the others stay as they are."""

    name: _Name
    """The new object's name; names in a file of prompts are ignored."""
    object: tyro.conf.Suppress[str] = "added"

    def change(self, segmentation: Segmentation) -> Segmentation:
        """See the base class."""
        segmentation.check_free(self.name)
        self.read_prompts()
        return segmentation

    def change_in_scene(self, opened: OpenScene) -> Segmentation:
        """See the base class."""
        prompts = [replace(prompt, object=self.name) for prompt in self.read_prompts()]
        detector = load_detector_for(prompts, self.detector, torch_device(self.device))
        with event_bar() as bar:
            prompts, choices = opened.find_words(prompts, detector, self.words, bar)
            opened.segment_prompts(prompts, bar)
        print_choices(choices)
        OUT.print(f"{self.name}: {opened.segmentation.object(self.name).verdict}")
        return opened.segmentation


@dataclass(kw_only=True)
class Merge(_Edit):
    """Make one object of several; no view is visited again."""

    names: _Names
    """The objects, two or more."""
    into: str
    """Name of the merged object: a new one, or that of one of them."""

    def change(self, segmentation: Segmentation) -> Segmentation:
        """See the base class."""
        for name in self.names:
            segmentation.object(name)
        if self.into not in self.names:
            kept = [one for one in segmentation.objects if one not in self.names]
            check_new_name(self.into, kept)
        return segmentation

    def change_in_scene(self, opened: OpenScene) -> Segmentation:
        """See the base class."""
        names = list(dict.fromkeys(self.names))
        return self.change_some(opened, names, lambda alone, _: alone.merge(names, self.into))


@dataclass(kw_only=True)
class Split(_Edit, PromptOptions):
    """Split off a part of an object, marked in any view, as a new object."""

    name: _Name
    """The object to split."""
    new: str
    """Name of the part that is marked."""
    object: tyro.conf.Suppress[str] = "part"

    def change(self, segmentation: Segmentation) -> Segmentation:
        """See the base class."""
        segmentation.object(self.name)
        segmentation.check_free(self.new)
        if any(prompt.text for prompt in self.read_prompts()):
            raise SA3DError("a part is marked with points, a box or a mask, not with words")
        return segmentation

    def change_in_scene(self, opened: OpenScene) -> Segmentation:
        """See the base class."""
        prompts = self.read_prompts()
        split = self.change_some(
            opened,
            [self.name],
            lambda alone, bar: alone[self.name].split(self.new, prompts=prompts, progress=bar),
        )
        return split.recolored(self.new, free_color(opened.segmentation.colors.values()))


@dataclass(kw_only=True)
class Delete(_Edit):
    """Remove objects."""

    names: _Names
    """The objects."""

    def change(self, segmentation: Segmentation) -> Segmentation:
        """See the base class."""
        if not self.names:
            raise SA3DError("name at least one object to delete")
        return segmentation.without(self.names)


ACTIONS = {
    "list": List,
    "rename": Rename,
    "color": Color,
    "add": Add,
    "merge": Merge,
    "split": Split,
    "delete": Delete,
}
"""The classes of ``sa3d objects``, by action."""
