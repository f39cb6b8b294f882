"""An opened scene and the objects cut out of it, as the Python API shows them.

The commands and the viewer stand on the same class, or on what it holds: ``session``, ``scene``,
``segmented``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nerfstudio_plugin.exports import export_class
from nerfstudio_plugin.exports.options import Written
from nerfstudio_plugin.marked_prompts import (
    Box,
    Points,
    Progress,
    marked_prompts,
    tell,
    words_found,
)
from nerfstudio_plugin.segmented_object import SegmentedObject
from nerfstudio_plugin.segmented_scene import SegmentedScene, provenance, write_segmentation
from sa3d.config import Settings
from sa3d.errors import SA3DError
from sa3d.everything import EverythingConfig, EverythingSession
from sa3d.prompts import DEFAULT_OBJECT, Prompt
from sa3d.scene import Scene
from sa3d.segmentation import Segmentation
from sa3d.segmenter import PromptableSegmenter
from sa3d.segmenters import load_segmenter
from sa3d.segmenters.choice import choose_segmenter
from sa3d.segmenters.registry import AUTO
from sa3d.session import Session
from sa3d.text_prompts import needs_words

if TYPE_CHECKING:
    from nerfstudio_plugin.loading import OpenedRun


class OpenScene:
    """A trained scene, and the objects cut out of it so far.

    Attributes:
        run: the Nerfstudio run.
        scene: its views, and what was evaluated of its field.
        settings: how the scene is prepared and the loop decides.
        device: torch device of segmenter and loop.
        cache_dir: where scene caches lie, if not beside the run.
    """

    def __init__(
        self,
        run: OpenedRun,
        scene: Scene,
        settings: Settings,
        device: str = "cpu",
        *,
        segmenter: PromptableSegmenter | None = None,
        cache_dir: Path | None = None,
        saved: Segmentation | None = None,
    ) -> None:
        """See :func:`nerfstudio_plugin.api.open`, and ``load`` for ``saved``."""
        if settings.segmenter == AUTO:
            name = choose_segmenter(device).name if segmenter is None else segmenter.name
            settings = replace(settings, segmenter=name)
        self.run, self.scene, self.settings, self.device = run, scene, settings, device
        self.cache_dir, self._saved = cache_dir, saved
        if segmenter is not None:
            self.segmenter = segmenter

    @cached_property
    def segmenter(self) -> PromptableSegmenter:
        """The 2D segmenter, loaded when it is first needed.

        Raises:
            SA3DError: its weights cannot be loaded.
        """
        return load_segmenter(self.settings.segmenter, self.device)

    @cached_property
    def session(self) -> Session:
        """The core's session: all prompts, and what became of them."""
        self.prepare()
        session = Session(self.scene, self.segmenter, self.settings.loop)
        if self._saved is not None:
            session.resume(self._saved)
            self._saved = None
        return session

    @property
    def views(self) -> list[str]:
        """Names of the photographs."""
        return [view.name for view in self.scene.views]

    @property
    def segmentation(self) -> Segmentation:
        """All objects as they stand."""
        if self._saved is not None:  # nothing was done in it yet: no segmenter is needed
            self.prepare()
            return self._saved
        return self.session.result()

    @property
    def segmented(self) -> SegmentedScene:
        """All objects as they stand, with the scene they are in, as exporters take them."""
        return self.with_origin(self.segmentation)

    @property
    def objects(self) -> dict[str, SegmentedObject]:
        """The objects by name."""
        return {name: SegmentedObject(self, name) for name in self.segmentation.objects}

    def __getitem__(self, name: str) -> SegmentedObject:
        """An object by name.

        Raises:
            SA3DError: there is no such object.
        """
        self.segmentation.object(name)
        return SegmentedObject(self, name)

    def prepare(self, progress: Progress | None = None) -> None:
        """Evaluate the NeRF in every view, once; what is in the cache already is only read.

        Called by itself when it is needed. It may be interrupted, and goes on where it was.

        Args:
            progress: called after each view with a :class:`sa3d.scene.ViewPrepared`.

        Raises:
            SA3DError: the disk is full, or a density is not finite.
        """
        if not self.scene.is_prepared():
            tell(self.scene.prepare(), progress)

    def segment(
        self,
        view: str | None = None,
        *,
        points: Points = (),
        labels: Sequence[int] | None = None,
        box: Box | None = None,
        mask: Path | np.ndarray | None = None,
        text: str | None = None,
        prompts: Sequence[Prompt] = (),
        name: str | None = None,
        progress: Progress | None = None,
    ) -> SegmentedObject:
        """Cut an object out: it is marked in one view, or in several.

        Args:
            view: name of the photograph the prompt is in; not needed with words alone.
            points: pixels (x, y) of the photograph at its own size, (0, 0) top left.
            labels: one per point, 1 on the object, 0 beside it; all 1 by default.
            box: x0, y0, x1, y1 around the object, in pixels.
            mask: [H, W], non-zero on the object, or the file of such an image.
            text: words naming the object; needs a detector's weights.
            prompts: more of them, in this view or others; their object names do not count.
            name: what to call it; ``object``, ``object_2``, ... by default.
            progress: called with every event.

        Raises:
            SA3DError: the prompts do not fit the scene, or nothing is found there. Nothing changes.
        """
        begun = self._saved is not None or "session" in self.__dict__
        taken = self.segmentation.objects if begun else {}
        if name is None:
            numbers = ("", *(f"_{number}" for number in range(2, len(taken) + 2)))
            name = next(n for n in (DEFAULT_OBJECT + s for s in numbers) if n not in taken)
        elif name in taken:
            raise SA3DError(f"there is an object {name!r} here already: correct it, or remove it")
        marked = marked_prompts(name, view, points, labels, box, mask, text, prompts)
        if any(needs_words(prompt) for prompt in marked):
            self.prepare(progress)
            loop = self.settings.loop
            marked = words_found(self.scene, self.segmenter, marked, loop, self.device, progress)
        self.follow_prompts(marked, progress)
        return SegmentedObject(self, name)

    def segment_everything(
        self, config: EverythingConfig | None = None, progress: Progress | None = None
    ) -> dict[str, SegmentedObject]:
        """Find all objects that several views agree on, without a prompt.

        Raises:
            SA3DError: nothing was found, or objects of their names are here already.
        """
        self.prepare(progress)
        search = EverythingSession(self.scene, self.segmenter, self.settings.loop, config)
        tell(search.run(), progress)
        segmentation, _ = search.result()
        self.resume(segmentation)
        return {name: SegmentedObject(self, name) for name in segmentation.objects}

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Check new prompts before the scene is prepared, which may take long.

        Raises:
            SA3DError: they do not fit the scene.
        """
        if not self.scene.is_prepared():
            Session(self.scene, self.segmenter, self.settings.loop).add_prompts(prompts)

    def run_prompts(self, prompts: Sequence[Prompt]) -> Iterator[Any]:
        """Add prompts, segment or correct what they are about, and yield the loop's events.

        Raises:
            SA3DError: the prompts do not fit the scene, or nothing is found there. Nothing
                changes then.
        """
        self.session.add_prompts(prompts)
        try:
            yield from self.session.run()
        except SA3DError:
            self.session.take_back()
            raise

    def follow_prompts(self, prompts: Sequence[Prompt], progress: Progress | None = None) -> None:
        """:meth:`run_prompts` to its end, all prepared and checked before, every event told."""
        self.check(prompts)
        self.prepare(progress)
        tell(self.run_prompts(prompts), progress)

    def with_origin(self, segmentation: Segmentation) -> SegmentedScene:
        """A segmentation made in this scene, with all that is noted about where it comes from."""
        notes = provenance(self.run, self.settings, self.cache_dir)
        return SegmentedScene(self.run, self.scene, segmentation, notes)

    def resume(self, segmentation: Segmentation) -> None:
        """Take the objects of a segmentation of this scene in, to go on with them.

        Raises:
            SA3DError: it belongs to another scene, or objects of their names are here already.
        """
        self.session.resume(segmentation)

    def remove(self, name: str) -> None:
        """Forget an object; :meth:`undo` brings it back.

        Raises:
            SA3DError: there is no such object.
        """
        self.session.remove_object(name)

    def undo(self) -> bool:
        """Take the last step back; False if there is none."""
        return self.session.undo()

    def redo(self) -> bool:
        """Do again what was undone last; False if there is nothing."""
        return self.session.redo()

    def save(self, folder: Path | str, *, overwrite: bool = False) -> dict[str, Any]:
        """Write all objects to a folder :func:`load` and ``sa3d export`` open.

        Returns:
            The report that lies in it as ``results.json``; ``overlay.png`` is beside it.

        Raises:
            SA3DError: the folder exists and may not be replaced, or the disk is full.
        """
        return write_segmentation(self.segmented, Path(folder), overwrite=overwrite)

    def export(
        self,
        output: Path | str,
        kind: str | None = None,
        *,
        objects: Sequence[str] = (),
        overwrite: bool = False,
        **options: Any,
    ) -> list[Path]:
        """Write objects as files: meshes, point clouds, masks, boxes, a field.

        Args:
            output: a file or a folder, whatever the kind writes.
            kind: one of :data:`nerfstudio_plugin.exports.KINDS`; the suffix tells by default.
            objects: only these; all by default.
            options: fields of the kind's ``Export``, such as ``frame="nerfstudio"``,
                ``mesh=MeshConfig(faces=5000)`` or ``layout="coco"``.

        Returns:
            What was written.

        Raises:
            SA3DError: something exists and may not be replaced, or an object is empty.
        """
        kind_of_export = export_class(kind, Path(output))
        export = kind_of_export(output=Path(output), overwrite=overwrite, **options)
        export.check()
        segmented = self.segmented
        names = objects or tuple(segmented.segmentation.objects)
        written: Iterable[Written] = export.write(segmented, names)
        return [one.place for one in written]
