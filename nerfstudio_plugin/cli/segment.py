"""``sa3d segment``: prompts in, a segmentation folder out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.api.opening import open as open_run
from nerfstudio_plugin.api.prompt_options import PromptOptions
from nerfstudio_plugin.cli.everything import refuse_prompts, segment_everything
from nerfstudio_plugin.cli.options import ReportOptions, RunOptions, SettingsOptions, parse
from nerfstudio_plugin.cli.progress import ERR, OUT, event_bar, opening_bar, rounds_table
from nerfstudio_plugin.cli.words import print_choices, told_detector
from nerfstudio_plugin.runs.devices import torch_device
from nerfstudio_plugin.saved.segmentation_folder import ExportSource, write_segmentation
from sa3d.objects.checkpoint import refuse_to_replace, save_segmentation
from sa3d.objects.events import Finished
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import Segmentation
from sa3d.search.config import EverythingConfig
from sa3d.segmenters.loading import check_segmenter

_HELP = """Cut objects out of a trained scene: mark them in one view, get them in 3D.

Writes a segmentation folder: the segmentation itself, results.json, and overlay.png to look at.
Coordinates are pixels x,y of the named image at its original size, (0, 0) top left.

examples:
  sa3d segment --load-config RUN/config.yml --view 000024.jpg --points 127,207 --output ball
  sa3d segment --load-config RUN/config.yml --view 000024.jpg --points 127,207 300,40 \\
      --labels 1 0 --output ball            (1: on the object, 0: beside it)
  sa3d segment --load-config RUN/config.yml --view 000024.jpg --box 93,173 160,242 --output ball
  sa3d segment --load-config RUN/config.yml --view 000024.jpg --mask ball.png --output ball
  sa3d segment --load-config RUN/config.yml --everything --output all_objects
  sa3d segment --load-config RUN/config.yml --text "the red mug" --output mug
  sa3d segment --load-config RUN/config.yml --prompts prompts.json --output all_objects
  sa3d segment ... --segmenter sam2.1-tiny            (sa3d segmenters lists them)

prompts.json, for several objects or views:
  {"prompts": [{"object": "mug", "view": "000021.jpg", "points": [[99, 159]], "labels": [1]},
               {"object": "ball", "view": "000024.jpg", "box": [93, 173, 160, 242]}]}
"""


@dataclass(kw_only=True)
class Segment(ReportOptions, SettingsOptions, PromptOptions, RunOptions):
    """Cut objects out of a trained scene."""

    output: Path
    """Folder to write the segmentation to."""
    overwrite: bool = False
    """Replace a segmentation that is there already."""
    everything: bool = False
    """No prompt: find all objects that several views agree on."""
    find: EverythingConfig = field(default_factory=EverythingConfig)


def main(arguments: Sequence[str]) -> None:
    """Run ``sa3d segment``.

    Raises:
        SA3DError: something the user can put right.
    """
    command = parse(Segment, arguments, "sa3d segment", _HELP)
    if command.everything:
        refuse_prompts(command)
    prompts = [] if command.everything else command.read_prompts()
    refuse_to_replace(command.output, overwrite=command.overwrite)
    check_segmenter(command.settings.segmenter)
    detector = told_detector(prompts, command.detector, torch_device(command.device))
    with opening_bar():
        opened = open_run(
            command.load_config,
            command.settings,
            data=command.data,
            cache_dir=command.cache_dir,
            device=command.device,
        )
    if told := opened.chosen.sentence:
        OUT.print(told)
    if command.everything:
        found, stopped = segment_everything(opened, command.find)
        _write(opened.export_source, command, found)
        if stopped:
            raise KeyboardInterrupt
        return
    with event_bar() as bar:
        prompts, choices = opened.find_words(prompts, detector, command.words, bar)
    print_choices(choices)
    _segment(opened, prompts, command)
    print_outcome(opened.segmentation)
    _write(opened.export_source, command, {"words": [choice.to_json() for choice in choices]})


def print_outcome(segmentation: Segmentation, since: Mapping[str, int] | None = None) -> None:
    """Print the table of rounds, and a verdict per object.

    Args:
        since: objects to tell of, and how many of their rounds were told before; all by default.
    """
    told = dict.fromkeys(segmentation.objects, 0) if since is None else since
    objects = {name: segmentation.object(name) for name in told}
    OUT.print(rounds_table([r for name, one in objects.items() for r in one.rounds[told[name] :]]))
    for name, one in objects.items():
        OUT.print(f"{name}: {one.verdict}")


def write_folder(
    made: ExportSource, folder: Path, more: Mapping[str, Any], *, overwrite: bool
) -> dict[str, Any]:
    """``write_segmentation``, and say where it is."""
    report = write_segmentation(made, folder, more, overwrite=overwrite)
    say_where(folder)
    return report


def say_where(folder: Path) -> None:
    """Say where a segmentation was written."""
    OUT.print(f"segmentation: {folder}   pictures: {folder / 'overlay.png'}")


def _segment(opened: OpenScene, prompts: Sequence[Prompt], command: Segment) -> None:
    """Segment under progress bars; a user who stops keeps what was finished."""
    finished: list[str] = []
    with event_bar() as bar:

        def progress(event: object) -> None:
            bar(event)
            if isinstance(event, Finished):
                finished.append(event.object)

        try:
            opened.segment_prompts(prompts, progress)
        except KeyboardInterrupt:
            if finished:
                _save_finished(opened, finished, command)
            raise


def _write(made: ExportSource, command: Segment, more: Mapping[str, Any]) -> None:
    command.write_report(write_folder(made, command.output, more, overwrite=command.overwrite))


def _save_finished(opened: OpenScene, finished: Sequence[str], command: Segment) -> None:
    """Keep the objects that were finished when the user stopped."""
    made = opened.export_source
    kept = {name: one for name, one in made.segmentation.objects.items() if name in finished}
    save_segmentation(
        replace(made.segmentation, objects=kept),
        command.output,
        made.provenance,
        overwrite=command.overwrite,
    )
    ERR.print(f"finished objects ({', '.join(kept)}) are saved in {command.output}")
