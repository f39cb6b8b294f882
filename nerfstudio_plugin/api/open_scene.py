"""An opened scene and its objects: what ``sa3d.open`` and ``sa3d.load`` return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nerfstudio_plugin.api.models import Models
from nerfstudio_plugin.exports import new_export
from nerfstudio_plugin.exports.options import Written
from nerfstudio_plugin.saved.segmentation_folder import ExportSource, provenance, write_segmentation
from sa3d.base.errors import ObjectsFailedError, SA3DError
from sa3d.detectors.protocol import TextDetector
from sa3d.loop.session import Session
from sa3d.loop.settings import Settings
from sa3d.objects.checkpoint import SavedSegmentation
from sa3d.objects.colors import Color, parse_color
from sa3d.objects.names import DEFAULT_OBJECT
from sa3d.objects.prompts import Prompt, PromptKeywords, prompts_in_views
from sa3d.objects.segmentation import ObjectResult, Segmentation
from sa3d.results.calibration import calibrated_probability
from sa3d.results.config import RefinementConfig
from sa3d.results.mask_refinement import refined_masks
from sa3d.results.next_view import NextView, next_views
from sa3d.scene.scene import Scene
from sa3d.search.config import EverythingConfig, WordsConfig
from sa3d.search.everything import EverythingSearch
from sa3d.search.text_prompts import WordsChoice, WordSearch, check_words, needs_words
from sa3d.segmenters.choice import resolve_segmenter
from sa3d.segmenters.protocol import PromptableSegmenter
from sa3d.segmenters.registry import AUTO

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import Unpack

    from nerfstudio_plugin.runs.opening import Run

Progress = Callable[[Any], object]
"""Called with every event: those of ``sa3d.scene.events``, ``sa3d.objects.events`` and
``sa3d.search.events``. ``print`` works."""


class OpenScene:
    """A trained run opened for segmentation, with the objects that were segmented in it.

    ``sa3d.open`` and ``sa3d.load`` return one.

    Example:
        >>> scene = sa3d.open("outputs/kitchen/nerfacto/RUN/config.yml")
        >>> mug = scene.segment("frame_00024.jpg", points=[(412, 233)], name="mug")
        >>> scene.save("segmentations/kitchen")

    Attributes:
        run: the Nerfstudio run.
        scene: its views, and what was evaluated of its field.
        settings: how the scene is prepared and objects are segmented; names the segmenter in use,
            never "auto".
        chosen: the segmenter's name, and the reason if it was chosen automatically.
        detector: the text detector for prompts with words: a name, or the detector itself.
        device: torch device of segmenter, detector and loop.
        cache_dir: where scene caches lie; None: in ``sa3d_cache`` beside the run's ``config.yml``.
        models: the segmenters and detectors that were loaded by name.
        folder: where the segmentation was loaded from, if it was.
    """

    def __init__(
        self,
        run: Run,
        scene: Scene,
        settings: Settings,
        device: str = "cpu",
        *,
        segmenter: PromptableSegmenter | None = None,
        detector: str | TextDetector = AUTO,
        cache_dir: Path | None = None,
        models: Models | None = None,
        saved: SavedSegmentation | None = None,
        folder: Path | None = None,
    ) -> None:
        """Keep what was opened; load and evaluate nothing yet.

        Args:
            segmenter: used instead of the one that the settings name.
            models: shared with other scenes; its own by default.
            saved: objects to start with; they must be of this scene.
            folder: where ``saved`` was read from.
        """
        self.chosen = resolve_segmenter(settings.segmenter, device)
        self.settings = replace(settings, segmenter=self.chosen.name)
        self.run, self.scene, self.device, self.cache_dir = run, scene, device, cache_dir
        self.detector, self.models = detector, models or Models(device)
        self._saved, self.folder = saved, folder
        if segmenter is not None:
            self.segmenter = segmenter

    @cached_property
    def segmenter(self) -> PromptableSegmenter:
        """The 2D segmenter; loaded when it is first needed.

        Raises:
            SA3DError: its weights cannot be loaded.
        """
        return self.models.segmenter(self.settings.segmenter)

    @cached_property
    def session(self) -> Session:
        """The core's session: all prompts, and the objects that were made of them.

        Before you run it yourself, ``prepare`` the scene.

        Raises:
            SA3DError: the segmenter cannot be loaded.
        """
        session = Session(self.scene, self.segmenter, self.settings.loop)
        if self._saved is not None:
            self.prepare()
            session.resume(self._saved.segmentation)
            self._saved = None
        return session

    @property
    def segmentation(self) -> Segmentation:
        """All objects in their current state."""
        if self._saved is not None:  # unchanged since it was loaded: no segmenter is needed
            self.prepare()
            return self._saved.segmentation
        return self.session.result()

    @property
    def export_source(self) -> ExportSource:
        """All objects with their scene and run, as exporters take them.

        While a loaded segmentation is unchanged, this names its folder and keeps its provenance.
        """
        if self._saved is not None and self._saved.provenance:
            notes = self._saved.provenance
            return ExportSource(self.run, self.scene, self.segmentation, notes, self.folder)
        notes = provenance(self.run, self.settings, self.cache_dir)
        return ExportSource(self.run, self.scene, self.segmentation, notes)

    @property
    def views(self) -> list[str]:
        """The names of all views."""
        return [view.name for view in self.scene.views]

    @property
    def objects(self) -> dict[str, SegmentedObject]:
        """The objects by name."""
        return {name: SegmentedObject(self, name) for name in self.segmentation.objects}

    def __getitem__(self, name: str) -> SegmentedObject:
        """Return an object by name.

        Raises:
            SA3DError: there is no such object.
        """
        self.segmentation.object(name)
        return SegmentedObject(self, name)

    def prepare(self, progress: Progress | None = None) -> None:
        """Evaluate the field in every view, once; views in the cache are only read.

        Other methods call it when they need it. After an interruption, call it again: prepared
        views are kept.

        Args:
            progress: called after each view with a ``ViewPrepared``.

        Raises:
            SA3DError: the disk is full, or a density is not finite.
        """
        if not self.scene.is_prepared():
            _report(self.scene.prepare(), progress)

    def segment(
        self,
        view: str | None = None,
        *,
        prompts: Sequence[Prompt] = (),
        name: str | None = None,
        detector: str | TextDetector | None = None,
        progress: Progress | None = None,
        **keywords: Unpack[PromptKeywords],
    ) -> SegmentedObject:
        """Segment an object that is marked in one view, or in several.

        Example:
            >>> mug = scene.segment("frame_00024.jpg", points=[(412, 233)])
            >>> lid = scene.segment("frame_00024.jpg", points=[(9, 9), (40, 7)], labels=[1, 0])
            >>> cup = scene.segment(text="the red cup", name="cup")

        Args:
            view: name of the view that the prompt is in; not needed with words alone.
            prompts: more prompts, in this view or others; their object names are ignored.
            name: name of the object; ``object``, ``object_2``, ... by default.
            detector: finds ``text``: a name, or a detector; by default the scene's own.
            progress: called with every event.
            keywords: ``points``, ``labels``, ``box``, ``mask``, ``text`` and ``candidate``; see
                ``PromptKeywords``.

        Raises:
            SA3DError: the prompts do not fit the scene, or nothing is found there. The scene's
                objects stay as they are.
        """
        existing = (self._saved.segmentation if self._saved else self.session.result()).objects
        if name is None:
            numbers = ("", *(f"_{number}" for number in range(2, len(existing) + 2)))
            name = next(n for n in (DEFAULT_OBJECT + s for s in numbers) if n not in existing)
        elif name in existing:
            raise SA3DError(f"there is an object {name!r} here already: correct it, or remove it")
        given = _all_prompts(name, view, keywords, prompts)
        found, _ = self.find_words(given, detector, progress=progress)
        self.segment_prompts(found, progress)
        return SegmentedObject(self, name)

    def segment_prompts(self, prompts: Sequence[Prompt], progress: Progress | None = None) -> None:
        """Add prompts for any objects; segment the new objects, and correct the existing ones.

        Prompts with words alone must be resolved before, by ``find_words``. If nothing is found for
        some objects, the others are segmented nevertheless.

        Raises:
            ObjectsFailedError: nothing is found for some objects, which stay as they are.
            SA3DError: the prompts do not fit the scene; all objects stay as they are.
        """
        self.check(prompts)
        self.prepare(progress)
        self.session.add_prompts(prompts)
        self.finish(progress)

    def segment_apart(
        self,
        prompts: Sequence[Prompt],
        detector: str | TextDetector | None = None,
        config: WordsConfig | None = None,
        progress: Progress | None = None,
    ) -> tuple[list[WordsChoice], dict[str, str]]:
        """Find the words of any prompts, and segment or correct each object that can be.

        Args:
            prompts: for any objects, with or without words.
            detector: see ``find_words``.
            config: see ``find_words``.
            progress: called with every event.

        Returns:
            For each prompt with words the candidates that it was chosen from; and the problem of
            each object that failed, by name. Those objects stay as they are.

        Raises:
            SA3DError: a prompt does not fit the scene; all objects stay as they are.
        """
        found, choices, failed = self.find_words_apart(prompts, detector, config, progress)
        if found:
            try:
                self.segment_prompts(found, progress)
            except ObjectsFailedError as error:
                failed |= error.failed
        return choices, failed

    def segment_everything(
        self, config: EverythingConfig | None = None, progress: Progress | None = None
    ) -> dict[str, SegmentedObject]:
        """Segment all objects that several views agree on, without a prompt.

        This is one step for ``undo``. After an interruption the finished objects are kept.

        Raises:
            SA3DError: nothing was found, or an object of the same name exists.
        """
        search = EverythingSearch(self.scene, self.segmenter, self.settings.loop, config)
        self.prepare(progress)
        try:
            _report(search.run(), progress)
        except KeyboardInterrupt:
            if search.finished:
                self.session.add_objects(search.result())
            raise
        found = search.result()
        self.session.add_objects(found)
        return {name: SegmentedObject(self, name) for name in found.objects}

    def find_words(
        self,
        prompts: Sequence[Prompt],
        detector: str | TextDetector | None = None,
        config: WordsConfig | None = None,
        progress: Progress | None = None,
    ) -> tuple[list[Prompt], list[WordsChoice]]:
        """Replace the prompts that have words to find by prompts on the objects found.

        Args:
            detector: a name, or a detector; by default the scene's own. Loaded only if a prompt
                needs it.

        Returns:
            All prompts, and for each prompt with words the candidates that it was chosen from.

        Raises:
            SA3DError: a prompt does not fit the scene, or nothing fits the words.
        """
        resolved, choices = list(prompts), []
        if not any(map(needs_words, prompts)):
            return resolved, choices
        finder = self.load_detector(detector)
        self.check(prompts)
        self.prepare(progress)
        for position, prompt in enumerate(prompts):
            if needs_words(prompt):
                loop = self.settings.loop
                search = WordSearch(self.scene, self.segmenter, finder, prompt, config, loop)
                _report(search.run(), progress)
                choices.append(search.result())
                resolved[position] = choices[-1].prompt
        return resolved, choices

    def find_words_apart(
        self,
        prompts: Sequence[Prompt],
        detector: str | TextDetector | None = None,
        config: WordsConfig | None = None,
        progress: Progress | None = None,
    ) -> tuple[list[Prompt], list[WordsChoice], dict[str, str]]:
        """Find words as ``find_words`` does, and leave out the objects that are not found.

        Returns:
            The prompts and choices of all other objects, see ``find_words``; and the problem of
            each object that was left out, by name.

        Raises:
            SA3DError: a prompt does not fit the scene, or the detector cannot be loaded.
        """
        if not any(map(needs_words, prompts)):
            return list(prompts), [], {}
        self.check(prompts)
        self.load_detector(detector)
        self.prepare(progress)
        found: list[Prompt] = []
        choices: list[WordsChoice] = []
        failed: dict[str, str] = {}
        for name in dict.fromkeys(prompt.object for prompt in prompts):
            mine = [prompt for prompt in prompts if prompt.object == name]
            try:
                resolved, chosen = self.find_words(mine, detector, config, progress)
                self.check(resolved)
            except SA3DError as error:
                failed[name] = str(error)
            else:
                found, choices = found + resolved, choices + chosen
        return found, choices, failed

    def load_detector(self, detector: str | TextDetector | None = None) -> TextDetector:
        """Return the text detector; one that is given by name is loaded once, and kept.

        Args:
            detector: a name, or a detector; by default the scene's own.

        Raises:
            SA3DError: the name is unknown, or the weights cannot be loaded.
        """
        chosen = self.detector if detector is None else detector
        return self.models.detector(chosen) if isinstance(chosen, str) else chosen

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Check new prompts before the scene is prepared, which may take long.

        Raises:
            SA3DError: they do not fit the scene, or the segmenter cannot be loaded.
        """
        for prompt in filter(needs_words, prompts):
            check_words(self.scene, prompt)
        marked = [prompt for prompt in prompts if not needs_words(prompt)]
        if self._saved is None:
            session = self.session  # loads the segmenter, which words need as well
            if marked:
                session.check(marked)
        elif marked:
            prompts_in_views(marked, self.scene.views)

    def finish(self, progress: Progress | None = None) -> None:
        """Finish the objects that are not finished yet, as after an interruption.

        Raises:
            ObjectsFailedError: nothing is found for some objects, which are as they were before.
                If that are all, the last step is undone.
            SA3DError: no object can be segmented, as a photo cannot be read. The last step is
                undone.
        """
        try:
            _report(self.session.run(), progress)
        except SA3DError as error:
            if not (isinstance(error, ObjectsFailedError) and error.kept):
                self.session.take_back()
            raise

    def resume(self, segmentation: Segmentation) -> None:
        """Add the objects of a segmentation of this scene, ready to be corrected.

        Raises:
            SA3DError: it belongs to another scene, or an object of the same name exists.
        """
        self.prepare()
        self.session.resume(segmentation)

    def with_objects(
        self, segmentation: Segmentation, settings: Settings | None = None
    ) -> OpenScene:
        """Return this scene with the objects of another segmentation of it, and only those.

        Args:
            segmentation: of this scene.
            settings: those that the segmentation was made with; this scene's by default. The
                segmenter that they name is loaded if it is another one.

        Raises:
            SA3DError: the segmentation belongs to another scene, or its segmenter cannot be loaded.
        """
        settings = settings or self.settings
        same = settings.segmenter == self.settings.segmenter
        opened = OpenScene(
            self.run,
            self.scene,
            settings,
            self.device,
            segmenter=self.segmenter if same else None,
            detector=self.detector,
            cache_dir=self.cache_dir,
            models=self.models,
        )
        opened.resume(segmentation)
        return opened

    def merge(self, names: Sequence[str], into: str) -> SegmentedObject:
        """Make one object of several; no view is segmented again.

        Args:
            into: name of the merged object: a new name, or one of ``names``. It gets the color of
                the first object.

        Raises:
            SA3DError: fewer than two objects, one is unknown or not finished, or the name is
                invalid or taken. The objects stay as they are.
        """
        self.session.merge_objects(names, into)
        return SegmentedObject(self, into)

    def remove(self, name: str) -> None:
        """Remove an object; ``undo`` brings it back.

        Raises:
            SA3DError: there is no such object.
        """
        self.session.remove_object(name)

    def undo(self) -> bool:
        """Undo the last step; return False if there is none."""
        return self.session.undo()

    def redo(self) -> bool:
        """Redo the step that was undone last; return False if there is none."""
        return self.session.redo()

    def save(
        self, folder: Path | str, *, overwrite: bool = False, notes: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Write all objects to a folder that ``sa3d.load`` and ``sa3d export`` open.

        Args:
            overwrite: replace a segmentation that is there already.
            notes: kept in the folder beside its provenance.

        Returns:
            The report, which is written to the folder as ``results.json``; ``overlay.png`` is
            beside it.

        Raises:
            SA3DError: the folder exists and may not be replaced, or the disk is full.
        """
        source = self.export_source
        source = replace(source, provenance={**source.provenance, **(notes or {})})
        return write_segmentation(source, Path(folder), overwrite=overwrite)

    def export(
        self,
        output: Path | str,
        kind: str | None = None,
        *,
        objects: Sequence[str] = (),
        overwrite: bool = False,
        **options: Any,
    ) -> list[Path]:
        """Write objects as files: meshes, point clouds, masks, boxes, or a field.

        Example:
            >>> scene.export("kitchen.glb", mesh=sa3d.MeshConfig(faces=5000))

        Args:
            output: a file or a folder, depending on the kind.
            kind: one of ``KINDS``; by default the suffix of ``output`` decides.
            objects: only these; all by default.
            overwrite: replace files that exist.
            options: fields of the kind's ``Export``, such as ``frame="nerfstudio"``,
                ``mesh=MeshConfig(faces=5000)`` or ``layout="coco"``.

        Returns:
            The files and folders written.

        Raises:
            SA3DError: a file exists and may not be replaced, or an object is empty.
        """
        export = new_export(kind, Path(output), overwrite=overwrite, **options)
        source = self.export_source
        names = objects or tuple(source.segmentation.objects)
        written: Iterable[Written] = export.write(source, names)
        return [one.place for one in written]


@dataclass(frozen=True)
class SegmentedObject:
    """A handle of one object of an opened scene; it always shows the current state.

    Example:
        >>> mug = scene["mug"]
        >>> mug.correct("frame_00031.jpg", points=[(90, 40)], labels=[0])
        >>> mug.export("mug.glb")

    Attributes:
        scene: the scene that the object is in.
        name: name of the object.
    """

    scene: OpenScene = field(repr=False)
    name: str

    @property
    def segmentation(self) -> ObjectResult:
        """The object's prompts, evidence, views and rounds.

        Raises:
            SA3DError: the object was removed.
        """
        return self.scene.segmentation.object(self.name)

    @property
    def verdict(self) -> str:
        """The outcome of the loop, in one sentence."""
        return self.segmentation.verdict

    @property
    def converged(self) -> bool:
        """True if the last round changed (almost) nothing."""
        return self.segmentation.converged

    @property
    def probability(self) -> Tensor:
        """The calibrated probability that an element of the scene is object, [N] in (0, 1).

        It is 0.5 where there is no evidence. Exported point clouds contain the same values.
        """
        return calibrated_probability(self.scene.segmentation, self.name)

    @property
    def color(self) -> Color:
        """Red, green, blue, 0 to 255, in all overlays and exports that show several objects."""
        return self.scene.segmentation.colors[self.name]

    def mask(self, view: str, *, refine: bool = True) -> np.ndarray:
        """Return the object's final mask in a view: bool [H, W], at the photo's size.

        Args:
            refine: move the mask's edges to edges in the photo, as in exported masks.

        Raises:
            SA3DError: there is no such view.
        """
        index = self.scene.scene.view_index(view)
        config = RefinementConfig() if refine else None
        return refined_masks(self.scene.scene, self.scene.segmentation, index, config)[self.name]

    def masks(self, *, refine: bool = True) -> Mapping[str, np.ndarray]:
        """Return the object's final masks by view name; see ``mask``."""
        return {view: self.mask(view, refine=refine) for view in self.scene.views}

    def next_views(self, count: int | None = 5) -> list[NextView]:
        """Return the views in which a correction is expected to help most, best first.

        Args:
            count: at most this many; None: all.

        Raises:
            SA3DError: ``count`` is less than 1.
        """
        return next_views(self.scene.scene, self.scene.segmentation, self.name, count)

    def correct(
        self,
        view: str | None = None,
        *,
        prompts: Sequence[Prompt] = (),
        progress: Progress | None = None,
        **keywords: Unpack[PromptKeywords],
    ) -> SegmentedObject:
        """Add prompts, in any view, that mark what belongs to the object and what does not.

        Only the view and its neighbours are segmented again.

        Example:
            >>> mug.correct("frame_00031.jpg", points=[(90, 40)], labels=[0])

        Args:
            view: name of the view that the prompt is in.
            prompts: more prompts, in this view or others; their object names are ignored.
            progress: called with every event.
            keywords: as in ``OpenScene.segment``; ``text`` alone is not enough.

        Returns:
            The object itself.

        Raises:
            SA3DError: the prompts do not fit the scene, or nothing is found there. The object stays
                as it is.
        """
        given = _all_prompts(self.name, view, keywords, prompts)
        self.scene[self.name]  # prompts for a removed object would begin a new one
        self.scene.segment_prompts(given, progress)
        return self

    def rename(self, name: str) -> SegmentedObject:
        """Rename the object.

        Returns:
            A handle with the new name; this one is not valid any more.

        Raises:
            SA3DError: the new name is invalid or taken.
        """
        self.scene.session.rename_object(self.name, name)
        return replace(self, name=name)

    def recolor(self, color: Color | str) -> None:
        """Give the object another color: red, green and blue from 0 to 255, or ``"#d55e00"``.

        Raises:
            SA3DError: ``color`` is not a color.
        """
        color = parse_color(color) if isinstance(color, str) else color
        self.scene.session.set_color(self.name, color)

    def split(
        self,
        name: str,
        view: str | None = None,
        *,
        prompts: Sequence[Prompt] = (),
        progress: Progress | None = None,
        **keywords: Unpack[PromptKeywords],
    ) -> SegmentedObject:
        """Split a part off: mark the part in any view, and it becomes an object of its own.

        The part is segmented in all other views like any object, and removed from this one.

        Example:
            >>> cap = bottle.split("cap", "frame_00024.jpg", points=[(127, 207)])

        Args:
            name: name of the part.
            view: name of the view that the prompt is in.
            prompts: more prompts, in this view or others; their object names are ignored.
            progress: called with every event.
            keywords: as in ``OpenScene.segment``; ``text`` alone is not enough.

        Returns:
            The part.

        Raises:
            SA3DError: the object is not finished, the name is taken, or the prompts mark no part
                of the object, or all of it. The object stays as it is.
        """
        given = _all_prompts(name, view, keywords, prompts)
        self.scene.session.split_object(self.name, given, name)
        self.scene.finish(progress)
        return replace(self, name=name)

    def export(self, output: Path | str, kind: str | None = None, **options: Any) -> list[Path]:
        """Write the object as files; see ``OpenScene.export``."""
        return self.scene.export(output, kind, objects=(self.name,), **options)


def _all_prompts(
    name: str, view: str | None, keywords: PromptKeywords, prompts: Sequence[Prompt]
) -> list[Prompt]:
    """Return the prompt that the keywords make, if any, and the others, for the named object.

    Raises:
        SA3DError: nothing is marked, or a value is invalid.
    """
    if unknown := set(keywords) - PromptKeywords.__optional_keys__:
        raise TypeError(f"a prompt has no keyword {min(unknown)!r}")
    named = [replace(prompt, object=name) for prompt in prompts]
    given = [key for key in ("points", "box", "mask", "text") if _is_given(keywords.get(key))]
    if given:
        return [Prompt.from_keywords(view, name, **keywords), *named]
    if not named:
        raise SA3DError("no prompt given: give 'points', 'box', 'mask' or 'text', and 'view'")
    return named


def _is_given(value: Any) -> bool:
    """Return whether a keyword has a value other than None and ()."""
    return value is not None and not (isinstance(value, Sequence) and len(value) == 0)


def _report(events: Iterable[Any], progress: Progress | None) -> None:
    """Iterate over events, and report each to ``progress``."""
    for event in events:
        if progress is not None:
            progress(event)
