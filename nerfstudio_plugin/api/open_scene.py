"""An opened scene and the objects cut out of it, as the Python API shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nerfstudio_plugin.api.marked_prompts import (
    Box,
    Points,
    Progress,
    detector_for,
    marked_prompts,
    tell,
)
from nerfstudio_plugin.api.scene_session import SceneSession
from nerfstudio_plugin.api.segmented_object import SegmentedObject
from nerfstudio_plugin.exports import new_export
from nerfstudio_plugin.exports.options import Written
from sa3d.base.errors import SA3DError
from sa3d.objects.names import DEFAULT_OBJECT
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import Segmentation
from sa3d.search.config import EverythingConfig
from sa3d.search.everything import EverythingSearch
from sa3d.segmenters.registry import AUTO


class OpenScene(SceneSession):
    """A trained scene, and the objects cut out of it so far.

    See ``SceneSession`` for its attributes.
    """

    @property
    def views(self) -> list[str]:
        """Names of the photos."""
        return [view.name for view in self.scene.views]

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
            view: name of the photo the prompt is in; not needed with words alone.
            points: pixels (x, y) of the photo at its own size, (0, 0) top left.
            labels: one per point, 1 on the object, 0 beside it; all 1 by default.
            box: x0, y0, x1, y1 around the object, in pixels.
            mask: [H, W], non-zero on the object, or the file of such an image or of a cut-out.
            text: words naming the object; needs a detector's weights.
            prompts: more of them, in this view or others; their object names do not count.
            name: what to call it; ``object``, ``object_2``, ... by default.
            progress: called with every event.

        Raises:
            SA3DError: the prompts do not fit the scene, or nothing is found there. Nothing changes.
        """
        taken = (self._saved or self.session.result()).objects
        if name is None:
            numbers = ("", *(f"_{number}" for number in range(2, len(taken) + 2)))
            name = next(n for n in (DEFAULT_OBJECT + s for s in numbers) if n not in taken)
        elif name in taken:
            raise SA3DError(f"there is an object {name!r} here already: correct it, or remove it")
        marked = marked_prompts(name, view, points, labels, box, mask, text, prompts)
        detector = detector_for(marked, AUTO, self.device)
        marked, _ = self.find_words(marked, detector, progress=progress)
        self.follow_prompts(marked, progress)
        return SegmentedObject(self, name)

    def segment_everything(
        self, config: EverythingConfig | None = None, progress: Progress | None = None
    ) -> dict[str, SegmentedObject]:
        """Find all objects that several views agree on, without a prompt: one step of ``undo``.

        Interrupted, it keeps those that were finished.

        Raises:
            SA3DError: nothing was found, or objects of their names are here already.
        """
        search = EverythingSearch(self.scene, self.segmenter, self.settings.loop, config)
        self.prepare(progress)
        try:
            tell(search.run(), progress)
        except KeyboardInterrupt:
            if search.finished:
                self.session.add_objects(search.result())
            raise
        found = search.result()
        self.session.add_objects(found)
        return {name: SegmentedObject(self, name) for name in found.objects}

    def with_objects(self, segmentation: Segmentation) -> OpenScene:
        """This scene with the objects of a segmentation of it, in place of those it has.

        Raises:
            SA3DError: it belongs to another scene.
        """
        opened = OpenScene(
            self.run,
            self.scene,
            self.settings,
            self.device,
            segmenter=self.segmenter,
            cache_dir=self.cache_dir,
        )
        opened.resume(segmentation)
        return opened

    def merge(self, names: Sequence[str], into: str) -> SegmentedObject:
        """Make one object of several; no view is asked again.

        Args:
            into: its name, a new one or one of theirs. It has the first one's color.

        Raises:
            SA3DError: fewer than two objects, one is unknown or not finished, or the name is taken
                or cannot be one. Nothing changes.
        """
        self.session.merge_objects(names, into)
        return SegmentedObject(self, into)

    def remove(self, name: str) -> None:
        """Forget an object; ``undo`` brings it back.

        Raises:
            SA3DError: there is no such object.
        """
        self.session.remove_object(name)

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
            kind: one of ``KINDS``; the suffix tells by default.
            objects: only these; all by default.
            options: fields of the kind's ``Export``, such as ``frame="nerfstudio"``,
                ``mesh=MeshConfig(faces=5000)`` or ``layout="coco"``.

        Returns:
            What was written.

        Raises:
            SA3DError: something exists and may not be replaced, or an object is empty.
        """
        export = new_export(kind, Path(output), overwrite=overwrite, **options)
        made = self.segmented
        written: Iterable[Written] = export.write(made, objects or tuple(made.segmentation.objects))
        return [one.place for one in written]
