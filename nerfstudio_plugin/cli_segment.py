"""``sa3d segment``: prompts in, a segmentation folder out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nerfstudio_plugin.api import open as open_run
from nerfstudio_plugin.cli_everything import refuse_prompts, segment_everything
from nerfstudio_plugin.cli_options import ReportOptions, RunOptions, SettingsOptions, parse
from nerfstudio_plugin.cli_progress import ERR, OUT, rounds_table, run_with_progress
from nerfstudio_plugin.cli_prompts import PromptOptions
from nerfstudio_plugin.cli_segmenters import with_chosen_segmenter
from nerfstudio_plugin.cli_words import detector_for, words_to_prompts
from nerfstudio_plugin.open_scene import OpenScene
from nerfstudio_plugin.segmented_scene import SegmentedScene, torch_device, write_segmentation
from sa3d.checkpoint import refuse_to_replace, save_segmentation
from sa3d.events import Finished
from sa3d.everything import EverythingConfig
from sa3d.prompts import Prompt
from sa3d.segmentation import Segmentation
from sa3d.segmenters import load_segmenter

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
    device = torch_device(command.device)
    detector = detector_for(prompts, command.detector, device)
    command.settings = with_chosen_segmenter(command.settings, device)
    segmenter = load_segmenter(command.settings.segmenter, device)
    opened = open_run(
        command.load_config,
        command.settings,
        segmenter=segmenter,
        data=command.data,
        cache_dir=command.cache_dir,
        device=command.device,
    )
    if command.everything:
        segmentation, found, stopped = segment_everything(
            opened.scene, segmenter, command.settings.loop, command.find
        )
        _write(opened.with_origin(segmentation), command, found)
        if stopped:
            raise KeyboardInterrupt
        return
    prompts, choices = words_to_prompts(
        opened.scene, segmenter, detector, prompts, command.words, command.settings.loop
    )
    _segment(opened, prompts, command)
    print_outcome(opened.segmentation)
    _write(opened.segmented, command, {"words": [choice.to_json() for choice in choices]})


def print_outcome(segmentation: Segmentation) -> None:
    """Print the table of rounds, and a verdict per object."""
    rounds = [done for one in segmentation.objects.values() for done in one.rounds]
    OUT.print(rounds_table(rounds))
    for name, one in segmentation.objects.items():
        OUT.print(f"{name}: {one.verdict}")


def write_folder(
    made: SegmentedScene, folder: Path, more: Mapping[str, Any], *, overwrite: bool
) -> dict[str, Any]:
    """:func:`~nerfstudio_plugin.segmented_scene.write_segmentation`, and say where it is."""
    report = write_segmentation(made, folder, more, overwrite=overwrite)
    OUT.print(f"segmentation: {folder}   pictures: {folder / 'overlay.png'}")
    return report


def _segment(opened: OpenScene, prompts: Sequence[Prompt], command: Segment) -> None:
    """Segment under progress bars; a user who stops keeps what was finished."""
    finished: set[str] = set()
    try:
        for event in run_with_progress(opened, prompts):
            if isinstance(event, Finished):
                finished.add(event.object)
    except KeyboardInterrupt:
        if finished:
            _save_finished(opened, finished, command)
        raise


def _write(made: SegmentedScene, command: Segment, more: Mapping[str, Any]) -> None:
    command.write_report(write_folder(made, command.output, more, overwrite=command.overwrite))


def _save_finished(opened: OpenScene, finished: set[str], command: Segment) -> None:
    """Keep the objects that were finished when the user stopped."""
    made = opened.segmented
    kept = {name: one for name, one in made.segmentation.objects.items() if name in finished}
    save_segmentation(
        replace(made.segmentation, objects=kept),
        command.output,
        made.provenance,
        overwrite=command.overwrite,
    )
    ERR.print(f"finished objects ({', '.join(kept)}) are saved in {command.output}")
