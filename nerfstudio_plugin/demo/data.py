"""The demo scenes that are part of the package: files, prompts and exact masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from sa3d.base.errors import SA3DError
from sa3d.objects.checkpoint import read_bitmap
from sa3d.objects.prompts import Prompt, load_prompts
from sa3d.scene.views import View

DEMO_SCENES = ("room", "garden")


@dataclass(frozen=True)
class DemoScene:
    """A still life with a trained nerfacto run, default prompts and exact masks.

    Attributes:
        folder: with ``transforms.json``, ``images/``, ``masks_gt/`` and ``prompts.json``.
        load_config: ``config.yml`` of the trained run.
        prompts: one for each object, by its name.
    """

    folder: Path
    load_config: Path
    prompts: dict[str, Prompt]

    def exact_masks(self, name: str, views: Sequence[View]) -> list[np.ndarray]:
        """Return the exact mask of an object in every view, bool [H, W].

        Raises:
            SA3DError: a mask is missing or damaged.
        """
        folder = self.folder / "masks_gt" / name
        try:
            return [read_bitmap(folder / f"{PurePosixPath(view.name).stem}.png") for view in views]
        except ValueError as error:
            raise SA3DError(f"the demo scene {self.folder} is damaged: {error}") from error


def open_demo(name: str) -> DemoScene:
    """Open a demo scene, one of ``DEMO_SCENES``.

    Raises:
        SA3DError: its files are missing.
    """
    folder = Path(__file__).parents[1] / "demo_scenes" / name
    load_config = folder / "run" / "config.yml"
    prompts = {prompt.object: prompt for prompt in load_prompts(folder / "prompts.json")}
    if not load_config.is_file():
        raise SA3DError(
            f"the demo scene {name!r} has no trained run ({load_config}): reinstall the package"
        )
    return DemoScene(folder, load_config, prompts)
