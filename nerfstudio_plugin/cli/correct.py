"""``sa3d correct``: adds prompts to a finished segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nerfstudio_plugin.api.prompt_options import PromptOptions
from nerfstudio_plugin.cli.options import ChangeOptions, ReportOptions, print_failed, run
from nerfstudio_plugin.cli.terminal import event_bar, print_folder, print_outcome
from sa3d.base.errors import ObjectsFailedError, SA3DError
from sa3d.objects.names import DEFAULT_OBJECT

if TYPE_CHECKING:
    from sa3d.objects.prompts import Prompt
    from sa3d.objects.segmentation import Segmentation

_HELP = """Correct a segmentation: click where it is wrong, in any view.

The view you click in counts fully, the views around it are visited again, and the rest stays as it
is: nothing is prepared again. If some of several objects cannot be corrected, the others are, and
the exit code is 1. Coordinates are pixels x,y of the named photo at its original size.

examples:
  sa3d correct --segmentation mug --view 000024.jpg --points 127,207          (this belongs to it)
  sa3d correct --segmentation mug --view 000031.jpg --points 90,40 --labels 0   (this does not)
  sa3d correct --segmentation all --object mug --view 000024.jpg --mask painted.png
  sa3d correct --segmentation all --prompts more_prompts.json --output all_corrected
"""


@dataclass(kw_only=True)
class Correct(ReportOptions, PromptOptions, ChangeOptions):
    """Correct a segmentation."""


def main(arguments: Sequence[str]) -> int | None:
    """Run ``sa3d correct``.

    Returns:
        The exit code: 1 if some of several corrections failed.

    Raises:
        SA3DError: a problem that the user can solve.
    """
    return run(_run, Correct, arguments, "sa3d correct", _HELP)


def _run(command: Correct) -> int:
    given = command.read_prompts()
    if any(prompt.text for prompt in given):
        raise SA3DError("a correction is made with points, a box or a mask, not with words")
    from nerfstudio_plugin.saved.segmentation_folder import write_segmentation

    with command.alone():
        output, overwrite = command.place()
        loaded = command.load()
        prompts = [_named(prompt, loaded.segmentation) for prompt in given]
        opened = command.reopen(loaded)
        source = opened.export_source  # keeps the provenance of the loaded segmentation
        with event_bar() as bar:
            _, failed = opened.segment_apart(prompts, progress=bar)
        before = loaded.segmentation.objects
        corrected = [
            name for name in dict.fromkeys(p.object for p in prompts) if name not in failed
        ]
        if not corrected:
            raise ObjectsFailedError(failed)
        print_outcome(opened.segmentation, {name: len(before[name].rounds) for name in corrected})
        made = replace(source, segmentation=opened.segmentation)
        report = write_segmentation(made, output, overwrite=overwrite)
        print_folder(output)
        command.write_report(report)
        return print_failed(failed, Correct)


def _named(prompt: Prompt, segmentation: Segmentation) -> Prompt:
    """Return the prompt with the name of a saved object; without a name, of the only one.

    Raises:
        SA3DError: there is no such object.
    """
    names = list(segmentation.objects)
    if prompt.object == DEFAULT_OBJECT and len(names) == 1:
        return replace(prompt, object=names[0])
    if prompt.object == DEFAULT_OBJECT and DEFAULT_OBJECT not in names:
        raise SA3DError(f"give --object, the one to correct: {', '.join(names)}")
    segmentation.object(prompt.object)
    return prompt
