"""One object of an opened scene, as the Python API shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from nerfstudio_plugin.api.marked_prompts import Box, Points, Progress, marked_prompts
from sa3d.objects.colors import Color, parse_color
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import ObjectResult
from sa3d.results.calibration import calibrated_probability
from sa3d.results.config import RefinementConfig
from sa3d.results.mask_refinement import refined_masks
from sa3d.results.next_view import NextView, next_views

if TYPE_CHECKING:
    from nerfstudio_plugin.api.open_scene import OpenScene


@dataclass(frozen=True)
class SegmentedObject:
    """An object of an open scene: a handle that always shows it as it stands.

    Attributes:
        scene: where it is in.
        name: of the object.
    """

    scene: OpenScene = field(repr=False)
    name: str

    @property
    def segmentation(self) -> ObjectResult:
        """Its prompts, evidence, views and rounds.

        Raises:
            SA3DError: it is not there any more.
        """
        return self.scene.segmentation.object(self.name)

    @property
    def verdict(self) -> str:
        """How it went, in words."""
        return self.segmentation.verdict

    @property
    def converged(self) -> bool:
        """Whether the views agree on it."""
        return self.segmentation.converged

    @property
    def probability(self) -> Tensor:
        """How probable it is that an element of the scene belongs to it, [N] in (0, 1).

        Calibrated, as in exported point clouds; 0.5 where there is no evidence.
        """
        return calibrated_probability(self.scene.segmentation, self.name)

    @property
    def color(self) -> Color:
        """Red, green, blue, 0 to 255, in all pictures and exports that tell objects apart."""
        return self.scene.segmentation.colors[self.name]

    def mask(self, view: str, *, refine: bool = True) -> np.ndarray:
        """Its mask in a photo: bool [H, W], at the photo's size.

        Args:
            refine: move the edges to those of the photo, as exported masks have them.

        Raises:
            SA3DError: there is no such view.
        """
        index = self.scene.scene.view_index(view)
        config = RefinementConfig() if refine else None
        return refined_masks(self.scene.scene, self.scene.segmentation, index, config)[self.name]

    def masks(self, *, refine: bool = True) -> Mapping[str, np.ndarray]:
        """Its masks in all photos, by view; see ``mask``."""
        return {view: self.mask(view, refine=refine) for view in self.scene.views}

    def next_views(self, count: int | None = 5) -> list[NextView]:
        """Views in which a click on it, or beside it, is expected to help most, best first.

        Args:
            count: at most so many; None: all.

        Raises:
            SA3DError: no view is asked for.
        """
        return next_views(self.scene.scene, self.scene.segmentation, self.name, count)

    def correct(
        self,
        view: str,
        *,
        points: Points = (),
        labels: Sequence[int] | None = None,
        box: Box | None = None,
        mask: Path | np.ndarray | None = None,
        prompts: Sequence[Prompt] = (),
        progress: Progress | None = None,
    ) -> SegmentedObject:
        """Correct it: say in any view what belongs to it, and what does not.

        Only the views around are asked again. The arguments are those of ``OpenScene.segment``.

        Raises:
            SA3DError: the prompts do not fit the scene, or nothing is found there. Nothing changes.
        """
        marked = marked_prompts(self.name, view, points, labels, box, mask, None, prompts)
        self.scene[self.name]  # a name that is gone would begin a new object
        self.scene.follow_prompts(marked, progress)
        return self

    def rename(self, name: str) -> SegmentedObject:
        """Call it otherwise.

        Returns:
            It, under its new name; nothing is called by the old one any more.

        Raises:
            SA3DError: the new name is taken or cannot be one.
        """
        self.scene.session.rename_object(self.name, name)
        return replace(self, name=name)

    def paint(self, color: Color | str) -> None:
        """Give it another color: red, green and blue from 0 to 255, or ``"#d55e00"``.

        Raises:
            SA3DError: that is no color.
        """
        color = parse_color(color) if isinstance(color, str) else color
        self.scene.session.set_color(self.name, color)

    def split(
        self,
        name: str,
        view: str | None = None,
        *,
        points: Points = (),
        labels: Sequence[int] | None = None,
        box: Box | None = None,
        mask: Path | np.ndarray | None = None,
        prompts: Sequence[Prompt] = (),
        progress: Progress | None = None,
    ) -> SegmentedObject:
        """Make an object of its own of a part of it: mark the part in any view.

        The part is found in all other views like any object, and taken out of this one. The
        arguments are those of ``OpenScene.segment``.

        Args:
            name: of the part.

        Returns:
            The part.

        Raises:
            SA3DError: the object is not finished, the name is taken, or the prompts mark nothing of
                it, or all of it. Nothing changes.
        """
        marked = marked_prompts(name, view, points, labels, box, mask, None, prompts)
        self.scene.session.split_object(self.name, marked, name)
        self.scene.finish(progress)
        return replace(self, name=name)

    def export(self, output: Path | str, kind: str | None = None, **options: Any) -> list[Path]:
        """Write it as a file; see ``OpenScene.export``."""
        return self.scene.export(output, kind, objects=(self.name,), **options)
