"""``sa3d prepare``: evaluate a trained scene once, view by view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nerfstudio_plugin.cli.options import PresetOptions, ReportOptions, RunOptions, run
from nerfstudio_plugin.cli.terminal import OUT, prepare_with_progress
from sa3d.loop.settings import Settings
from sa3d.scene.config import PrepareConfig

_HELP = """Evaluate a trained scene once, so that segmenting in it is fast.

Every view is written to the scene cache as soon as it is done: stop at any time and run the same
command again to continue. Commands that need the cache also build it themselves.

examples:
  sa3d prepare --load-config outputs/room/nerfacto/RUN/config.yml
  sa3d prepare --load-config RUN/config.yml --data data/room --config unbounded
"""


@dataclass(kw_only=True)
class Prepare(RunOptions, PresetOptions, ReportOptions):
    """Evaluate a trained scene once."""

    prepare: PrepareConfig = field(default_factory=PrepareConfig)


def main(arguments: Sequence[str]) -> None:
    """Run ``sa3d prepare``.

    Raises:
        SA3DError: a problem that the user can solve.
    """
    run(_run, Prepare, arguments, "sa3d prepare", _HELP)


def _run(command: Prepare) -> None:
    scene = command.open(Settings(prepare=command.prepare)).scene
    counts = prepare_with_progress(scene)
    OUT.print(
        f"{counts['views']} views prepared ({counts['cached']} were before), "
        f"{len(scene.elements)} elements: {scene.cache}"
    )
    command.write_report(
        {"cache": str(scene.cache), "elements": len(scene.elements), "key": scene.key, **counts}
    )
