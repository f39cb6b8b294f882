"""``sa3d segment``: prompts in, a segmentation folder out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nerfstudio_plugin.api.prompt_options import PromptOptions
from nerfstudio_plugin.cli.options import (
    ReportOptions,
    RunOptions,
    SettingsOptions,
    print_failed,
    run,
)
from nerfstudio_plugin.cli.terminal import (
    ERR,
    OUT,
    event_bar,
    opening_bar,
    print_choices,
    print_folder,
    print_outcome,
    table,
)
from nerfstudio_plugin.runs.devices import torch_device
from sa3d.base.errors import ObjectsFailedError, SA3DError
from sa3d.objects.events import Finished
from sa3d.objects.folder import refuse_to_replace
from sa3d.search.config import EverythingConfig
from sa3d.segmenters.loading import check_segmenter
from sa3d.segmenters.registry import AUTO

if TYPE_CHECKING:
    from nerfstudio_plugin.api.open_scene import OpenScene
    from sa3d.detectors.protocol import TextDetector
    from sa3d.objects.prompts import Prompt

_HELP = """Cut objects out of a trained scene: mark them in one view, get them in 3D.

Writes a segmentation folder: the segmentation itself, results.json, and overlay.png to look at.
Coordinates are pixels x,y of the named photo at its original size, (0, 0) top left.
If some of several objects cannot be segmented, the others are written, and the exit code is 1.

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


def main(arguments: Sequence[str]) -> int | None:
    """Run ``sa3d segment``.

    Returns:
        The exit code: 1 if some of several objects failed.

    Raises:
        SA3DError: a problem that the user can solve.
    """
    return run(_run, Segment, arguments, "sa3d segment", _HELP)


def _run(command: Segment) -> int:
    if command.everything:
        _refuse_prompts(command)
    prompts = [] if command.everything else command.read_prompts()
    refuse_to_replace(command.output, overwrite=command.overwrite)
    check_segmenter(command.settings.segmenter)
    detector = load_detector_for(prompts, command.detector, torch_device(command.device))
    from nerfstudio_plugin.saved.folder_lock import locked

    with locked(command.output, wait=False):
        refuse_to_replace(command.output, overwrite=command.overwrite)
        return _segment_and_write(command, prompts, detector)


def _segment_and_write(
    command: Segment, prompts: Sequence[Prompt], detector: TextDetector | None
) -> int:
    with opening_bar():
        opened = command.open(command.settings)
    if sentence := opened.chosen.sentence:
        OUT.print(sentence)
    if command.everything:
        stopped = _segment_everything(opened, command)
        _write(opened, command, {"found": _found(opened)})
        if stopped:
            raise KeyboardInterrupt
        return 0
    with event_bar() as bar:
        found, choices, failed = opened.find_words_apart(prompts, detector, command.words, bar)
    print_choices(choices)
    failed |= _segment(opened, found, command)
    if not opened.objects:
        raise ObjectsFailedError(failed)
    print_outcome(opened.segmentation)
    more = {"words": [choice.to_json() for choice in choices]}
    _write(opened, command, more | ({"failed": failed} if failed else {}))
    return print_failed(failed, Segment)


def load_detector_for(prompts: Sequence[Prompt], name: str, device: str) -> TextDetector | None:
    """Load the detector if any prompt needs one, and print which one "auto" chose.

    Raises:
        SA3DError: see ``load_detector``.
    """
    from nerfstudio_plugin.api.models import detector_for

    detector = detector_for(prompts, name, device)
    if detector is not None and name == AUTO:
        OUT.print(f"detector: {detector.name}", soft_wrap=True)
    return detector


def _refuse_prompts(options: PromptOptions) -> None:
    """Refuse prompts beside ``--everything``.

    Raises:
        SA3DError: a prompt was given.
    """
    given = (options.view, options.points, options.labels, options.box, options.mask)
    if any(given) or options.text or options.prompts:
        raise SA3DError("--everything takes no prompts: leave it out, or leave the prompts out")


def _segment(opened: OpenScene, prompts: Sequence[Prompt], command: Segment) -> dict[str, str]:
    """Segment under a progress bar; if the user stops it, save the objects that are finished.

    Returns:
        The problem of each object that failed, by name.
    """
    finished: list[str] = []
    with event_bar() as bar:

        def progress(event: object) -> None:
            bar(event)
            if isinstance(event, Finished):
                finished.append(event.object)

        try:
            return opened.segment_apart(prompts, progress=progress)[1]
        except KeyboardInterrupt:
            if finished:
                _save_finished(opened, finished, command)
            raise


def _save_finished(opened: OpenScene, finished: Sequence[str], command: Segment) -> None:
    """Save the objects that were finished when the user stopped."""
    from sa3d.objects.checkpoint import save_segmentation

    made = opened.export_source
    kept = {name: one for name, one in made.segmentation.objects.items() if name in finished}
    segmentation = replace(made.segmentation, objects=kept)
    save_segmentation(segmentation, command.output, made.provenance, overwrite=command.overwrite)
    ERR.print(f"finished objects ({', '.join(kept)}) are saved in {command.output}")


def _segment_everything(opened: OpenScene, command: Segment) -> bool:
    """Find a scene's objects under a progress bar.

    Returns:
        Whether the user stopped it; the objects are then those that were finished.

    Raises:
        SA3DError: no object was found that views agree on.
        KeyboardInterrupt: stopped before the first object was finished.
    """
    try:
        with event_bar() as bar:
            opened.segment_everything(command.find, bar)
    except KeyboardInterrupt:
        if not opened.objects:
            raise
        return True
    return False


def _found(opened: OpenScene) -> list[dict[str, Any]]:
    """Print the table of found objects, and return it as JSON values."""
    from sa3d.search.everything import found_objects

    found = found_objects(opened.segmentation)
    headers = ("object", "views", "size", "agreement", "elements")
    rows = [
        (
            one.name,
            f"{one.views}/{len(opened.views)}",
            f"{one.size:.3f}",
            f"{one.agreement:.3f}",
            str(one.elements),
        )
        for one in found
    ]
    OUT.print(table(headers, rows))
    return [asdict(one) for one in found]


def _write(opened: OpenScene, command: Segment, more: dict[str, Any]) -> None:
    from nerfstudio_plugin.saved.segmentation_folder import write_segmentation

    folder = command.output
    report = write_segmentation(opened.export_source, folder, more, overwrite=command.overwrite)
    print_folder(folder)
    command.write_report(report)
