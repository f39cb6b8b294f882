"""``sa3d segment``: prompts in, a segmentation folder out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nerfstudio_plugin.cli import program_version
from nerfstudio_plugin.cli_everything import refuse_prompts, segment_everything
from nerfstudio_plugin.cli_options import (
    ReportOptions,
    RunOptions,
    SettingsOptions,
    parse,
    torch_device,
    write_json,
)
from nerfstudio_plugin.cli_pictures import overlay_sheet
from nerfstudio_plugin.cli_progress import ERR, OUT, follow, prepare_with_progress, rounds_table
from nerfstudio_plugin.cli_prompts import PromptOptions
from nerfstudio_plugin.cli_segmenters import with_chosen_segmenter
from nerfstudio_plugin.cli_words import detector_for, words_to_prompts
from sa3d.checkpoint import refuse_to_replace, save_segmentation
from sa3d.config import Settings
from sa3d.events import Finished
from sa3d.everything import EverythingConfig
from sa3d.prompts import Prompt
from sa3d.scene import Scene
from sa3d.segmentation import ObjectSegmentation, Segmentation
from sa3d.segmenter import PromptableSegmenter
from sa3d.segmenters import load_segmenter
from sa3d.session import Session

if TYPE_CHECKING:
    from nerfstudio_plugin.loading import OpenedRun

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
    run, scene = command.open(command.settings.prepare)
    notes = provenance(run, command.settings, command.cache_dir)
    if command.everything:
        segmentation, found, stopped = segment_everything(
            scene, segmenter, command.settings.loop, command.find
        )
        _write(segmentation, scene, command, notes, found)
        if stopped:
            raise KeyboardInterrupt
        return
    prompts, choices = words_to_prompts(
        scene, segmenter, detector, prompts, command.words, command.settings.loop
    )
    session = prepared_session(scene, segmenter, command.settings, prompts)
    finished: set[str] = set()
    try:
        for event in follow(session.run(), len({prompt.object for prompt in prompts})):
            if isinstance(event, Finished):
                finished.add(event.object)
    except KeyboardInterrupt:
        if finished:
            _save_finished(session.result(), finished, command, notes)
        raise
    segmentation = session.result()
    print_outcome(segmentation)
    words = {"words": [choice.to_json() for choice in choices]}
    _write(segmentation, scene, command, notes, words)


def write_segmentation(
    segmentation: Segmentation,
    scene: Scene,
    output: Path,
    notes: Mapping[str, Any],
    more: Mapping[str, Any],
    *,
    overwrite: bool,
) -> dict[str, Any]:
    """Write the folder: the segmentation, its report with ``more`` in it, and the picture.

    Returns:
        The report.

    Raises:
        SA3DError: the folder exists and may not be replaced, or the disk is full.
    """
    report = segmentation_report(segmentation, scene) | dict(more)
    save_segmentation(segmentation, output, notes, overwrite=overwrite)
    write_json(output / "results.json", report)
    overlay_sheet(scene, segmentation, output / "overlay.png")
    OUT.print(f"segmentation: {output}   pictures: {output / 'overlay.png'}")
    return report


def _write(
    segmentation: Segmentation,
    scene: Scene,
    command: Segment,
    notes: Mapping[str, Any],
    more: Mapping[str, Any],
) -> None:
    report = write_segmentation(
        segmentation, scene, command.output, notes, more, overwrite=command.overwrite
    )
    command.write_report(report)


def prepared_session(
    scene: Scene, segmenter: PromptableSegmenter, settings: Settings, prompts: Sequence[Prompt]
) -> Session:
    """Prepare a scene and begin a session in it.

    Raises:
        SA3DError: a prompt does not fit the scene (said before the long preparation), or see
            :meth:`sa3d.scene.Scene.prepare`.
    """
    Session(scene, segmenter, settings.loop).add_prompts(prompts)
    if not scene.is_prepared():
        prepare_with_progress(scene)
    session = Session(scene, segmenter, settings.loop)
    session.add_prompts(prompts)
    return session


def print_outcome(segmentation: Segmentation) -> None:
    """Print the table of rounds, and a verdict per object."""
    rounds = [done for one in segmentation.objects.values() for done in one.rounds]
    OUT.print(rounds_table(rounds))
    for name, one in segmentation.objects.items():
        OUT.print(f"{name}: {one.verdict}")


def provenance(run: OpenedRun, settings: Settings, cache_dir: Path | None) -> dict[str, Any]:
    """Where a segmentation comes from, as noted in its folder."""
    return {
        "load_config": str(run.load_config.resolve()),
        "data": str(run.data.resolve()),
        "cache_dir": None if cache_dir is None else str(cache_dir.resolve()),
        "checkpoint": run.checkpoint_path.name,
        "settings": asdict(settings),
        "versions": {"sa3d": program_version(), **_versions("nerfstudio", "torch", "numpy")},
    }


def segmentation_report(segmentation: Segmentation, scene: Scene) -> dict[str, Any]:
    """What happened to every object: rounds, views and verdict, as JSON holds it."""
    return {
        "scene_key": segmentation.scene_key,
        "elements": len(segmentation.elements),
        "views": len(scene.views),
        "objects": [_object_report(one, scene) for one in segmentation.objects.values()],
    }


def _object_report(one: ObjectSegmentation, scene: Scene) -> dict[str, Any]:
    views = {
        scene.views[index].name: {
            "outcome": record.outcome,
            "agreement": record.agreement,
            "score": record.score,
            "confidence": record.confidence,
        }
        for index, record in sorted(one.views.items())
    }
    return {
        "name": one.name,
        "converged": one.converged,
        "verdict": one.verdict,
        "prompts": [prompt.to_json() for prompt in one.prompts],
        "rounds": [asdict(done) for done in one.rounds],
        "views": views,
    }


def _save_finished(
    segmentation: Segmentation, finished: set[str], command: Segment, notes: dict[str, Any]
) -> None:
    """Keep the objects that were finished when the user stopped."""
    kept = {name: one for name, one in segmentation.objects.items() if name in finished}
    save_segmentation(
        replace(segmentation, objects=kept), command.output, notes, overwrite=command.overwrite
    )
    ERR.print(f"finished objects ({', '.join(kept)}) are saved in {command.output}")


def _versions(*names: str) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
