"""What ``sa3d objects`` changes: one class per action that writes a segmentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.api.prompt_options import PromptOptions
from nerfstudio_plugin.cli.options import ReportOptions
from nerfstudio_plugin.cli.progress import OUT, EventBar, event_bar
from nerfstudio_plugin.cli.saved import ChangeOptions
from nerfstudio_plugin.cli.segment import say_where, write_folder
from nerfstudio_plugin.cli.words import print_choices, told_detector
from nerfstudio_plugin.runs.devices import torch_device
from nerfstudio_plugin.saved.segmentation_folder import write_renamed
from sa3d.base.errors import SA3DError
from sa3d.objects.checkpoint import SavedSegmentation
from sa3d.objects.colors import free_color, parse_color
from sa3d.objects.segmentation import Segmentation

_Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
_Names = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME [NAME ...]")]


@dataclass(kw_only=True)
class _Edit(ReportOptions, ChangeOptions):
    """Change a segmentation."""

    def change(self, segmentation: Segmentation) -> Segmentation:
        """The segmentation, changed as far as its run is not needed: mistakes show at once.

        Raises:
            SA3DError: it cannot be changed so.
        """
        raise NotImplementedError

    def change_in_scene(self, opened: OpenScene) -> Segmentation:
        """The segmentation, changed further, now that its run is open.

        Raises:
            SA3DError: it cannot be changed so.
        """
        return opened.segmentation

    def run(self) -> None:
        """Change it and write it."""
        output, overwrite = self.place()
        loaded = self.load()
        changed = replace(loaded, segmentation=self.change(loaded.segmentation))
        report, segmentation = self.write(changed, output, overwrite)
        OUT.print("objects: " + ", ".join(segmentation.objects))
        self.write_report(report)

    def write(
        self, changed: SavedSegmentation, output: Path, overwrite: bool
    ) -> tuple[Mapping[str, Any], Segmentation]:
        """Change it further in its scene, and write it with new pictures.

        Returns:
            The report, and the segmentation as it was written.
        """
        opened = self.reopen(changed)
        source = opened.export_source
        made = replace(source, segmentation=self.change_in_scene(opened))
        return write_folder(made, output, {}, overwrite=overwrite), made.segmentation

    def in_scene(
        self,
        opened: OpenScene,
        names: Sequence[str],
        edit: Callable[[OpenScene, EventBar], object],
    ) -> Segmentation:
        """Change the named objects in a scene of their own; the others stay bit for bit."""
        whole = opened.segmentation
        mine = replace(whole, objects={name: whole.object(name) for name in names})
        alone = opened.with_objects(mine)
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
    """Call an object otherwise."""

    old: _Name
    """Its name now."""
    new: _Name
    """Its new name."""

    def change(self, segmentation: Segmentation) -> Segmentation:
        """See the base class."""
        return segmentation.renamed(self.old, self.new)

    def write(
        self, changed: SavedSegmentation, output: Path, overwrite: bool
    ) -> tuple[Mapping[str, Any], Segmentation]:
        """Without its run: the pictures show no names, and stay."""
        report = write_renamed(changed, self.segmentation, output, overwrite=overwrite)
        if report is None:
            return super().write(changed, output, overwrite)
        say_where(output)
        return report, changed.segmentation


@dataclass(kw_only=True)
class Color(_Edit):
    """Show an object in another color, in all pictures and exports that tell objects apart."""

    name: _Name
    """The object."""
    color: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="COLOR")]
    """#rrggbb, or r,g,b from 0 to 255."""

    def change(self, segmentation: Segmentation) -> Segmentation:
        """See the base class."""
        return segmentation.painted(self.name, parse_color(self.color))


@dataclass(kw_only=True)
class Delete(_Edit):
    """Forget objects."""

    names: _Names
    """Which."""

    def change(self, segmentation: Segmentation) -> Segmentation:
        """See the base class."""
        if not self.names:
            raise SA3DError("name at least one object to delete")
        return segmentation.without(self.names)


@dataclass(kw_only=True)
class Add(_Edit, PromptOptions):
    """Cut out one more object, marked in any view; the others stay as they are."""

    name: _Name
    """What to call it, whatever a file of prompts calls it."""
    object: tyro.conf.Suppress[str] = "added"

    def change(self, segmentation: Segmentation) -> Segmentation:
        """See the base class."""
        segmentation.check_free(self.name)
        self.read_prompts()
        return segmentation

    def change_in_scene(self, opened: OpenScene) -> Segmentation:
        """See the base class."""
        device = torch_device(self.device)
        prompts = [replace(prompt, object=self.name) for prompt in self.read_prompts()]
        detector = told_detector(prompts, self.detector, device)
        with event_bar() as bar:
            prompts, choices = opened.find_words(prompts, detector, self.words, bar)
            opened.segment_prompts(prompts, bar)
        print_choices(choices)
        OUT.print(f"{self.name}: {opened.segmentation.object(self.name).verdict}")
        return opened.segmentation


@dataclass(kw_only=True)
class Merge(_Edit):
    """Make one object of several; no view is asked again."""

    names: _Names
    """Which, two or more."""
    into: str
    """Name of the merged object: a new one, or that of one of them."""

    def change(self, segmentation: Segmentation) -> Segmentation:
        """See the base class."""
        for name in self.names:
            segmentation.object(name)
        if self.into not in self.names:
            segmentation.check_free(self.into)
        return segmentation

    def change_in_scene(self, opened: OpenScene) -> Segmentation:
        """See the base class."""
        names = list(dict.fromkeys(self.names))
        return self.in_scene(opened, names, lambda alone, _: alone.merge(names, self.into))


@dataclass(kw_only=True)
class Split(_Edit, PromptOptions):
    """Make a part of an object an object of its own: mark the part, in any view."""

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
        split = self.in_scene(
            opened,
            [self.name],
            lambda alone, bar: alone[self.name].split(self.new, prompts=prompts, progress=bar),
        )
        return split.painted(self.new, free_color(opened.segmentation.colors.values()))
