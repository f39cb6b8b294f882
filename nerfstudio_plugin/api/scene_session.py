"""An opened scene and its session: what commands, batches, the viewer and ``ns-train`` work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nerfstudio_plugin.api.marked_prompts import Progress, tell
from nerfstudio_plugin.saved.segmentation_folder import ExportSource, provenance, write_segmentation
from sa3d.base.errors import SA3DError
from sa3d.detectors.protocol import TextDetector
from sa3d.loop.session import Session
from sa3d.loop.settings import Settings
from sa3d.objects.prompts import Prompt, prompts_in_views
from sa3d.objects.segmentation import Segmentation
from sa3d.scene.scene import Scene
from sa3d.search.config import WordsConfig
from sa3d.search.text_prompts import WordsChoice, WordSearch, check_words, needs_words
from sa3d.segmenters.choice import resolve_segmenter
from sa3d.segmenters.loading import load_segmenter
from sa3d.segmenters.protocol import PromptableSegmenter

if TYPE_CHECKING:
    from nerfstudio_plugin.runs.opening import Run


class SceneSession:
    """A trained scene, and what is segmented in it so far.

    Attributes:
        run: the Nerfstudio run.
        scene: its views, and what was evaluated of its field.
        settings: how the scene is prepared and the loop decides; names the segmenter itself.
        chosen: the segmenter's name, and why it was chosen if it was not named.
        device: torch device of segmenter and loop.
        cache_dir: where scene caches lie, if not beside the run.
    """

    def __init__(
        self,
        run: Run,
        scene: Scene,
        settings: Settings,
        device: str = "cpu",
        *,
        segmenter: PromptableSegmenter | None = None,
        cache_dir: Path | None = None,
        saved: Segmentation | None = None,
    ) -> None:
        """See ``open``, and ``load`` for ``saved``."""
        self.chosen = resolve_segmenter(settings.segmenter, device)
        self.settings = replace(settings, segmenter=self.chosen.name)
        self.run, self.scene, self.device = run, scene, device
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
        """The core's session: all prompts, and what became of them.

        Before it is run by itself the scene must be prepared.

        Raises:
            SA3DError: the segmenter cannot be loaded, or the objects are another scene's.
        """
        session = Session(self.scene, self.segmenter, self.settings.loop)
        if self._saved is not None:
            self.prepare()
            session.resume(self._saved)
            self._saved = None
        return session

    @property
    def segmentation(self) -> Segmentation:
        """All objects as they stand."""
        if self._saved is not None:  # nothing was done in it yet: no segmenter is needed
            self.prepare()
            return self._saved
        return self.session.result()

    @property
    def segmented(self) -> ExportSource:
        """All objects as they stand, with the scene they are in, as exporters take them."""
        notes = provenance(self.run, self.settings, self.cache_dir)
        return ExportSource(self.run, self.scene, self.segmentation, notes)

    def prepare(self, progress: Progress | None = None) -> None:
        """Evaluate the NeRF in every view, once; what is in the cache already is only read.

        Called by itself when it is needed. It may be interrupted, and goes on where it was.

        Args:
            progress: called after each view with a ``ViewPrepared``.

        Raises:
            SA3DError: the disk is full, or a density is not finite.
        """
        if not self.scene.is_prepared():
            tell(self.scene.prepare(), progress)

    def find_words(
        self,
        prompts: Sequence[Prompt],
        detector: TextDetector | None,
        config: WordsConfig | None = None,
        progress: Progress | None = None,
    ) -> tuple[list[Prompt], list[WordsChoice]]:
        """The prompts, with what was found in the place of words, and how that was chosen.

        Args:
            detector: as ``detector_for`` gives it; None: no
                prompt has words that have to be looked for.

        Raises:
            SA3DError: a prompt does not fit the scene, or nothing fits the words.
        """
        resolved, choices = list(prompts), []
        if detector is None:
            return resolved, choices
        self.check(prompts)
        self.prepare(progress)
        for position, prompt in enumerate(prompts):
            if needs_words(prompt):
                loop = self.settings.loop
                search = WordSearch(self.scene, self.segmenter, detector, prompt, config, loop)
                tell(search.run(), progress)
                choices.append(search.result())
                resolved[position] = choices[-1].prompt
        return resolved, choices

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Check new prompts before the scene is prepared, which may take long.

        Raises:
            SA3DError: they do not fit the scene, or the segmenter cannot be loaded.
        """
        for prompt in filter(needs_words, prompts):
            check_words(self.scene, prompt)
        marked = [prompt for prompt in prompts if not needs_words(prompt)]
        if self._saved is None:
            session = self.session  # the segmenter is needed even if only words are to be checked
            if marked:
                session.check(marked)
        elif marked:
            prompts_in_views(marked, self.scene.views)

    def follow_prompts(self, prompts: Sequence[Prompt], progress: Progress | None = None) -> None:
        """Add prompts, and segment or correct what they are about, every event told.

        Raises:
            SA3DError: the prompts do not fit the scene, or nothing is found there. Nothing
                changes then.
        """
        self.check(prompts)
        self.prepare(progress)
        self.session.add_prompts(prompts)
        self.finish(progress)

    def finish(self, progress: Progress | None = None) -> None:
        """Segment what was begun: called by itself, but for what the user interrupted.

        Raises:
            SA3DError: nothing is found at a prompt. The last step is taken back then.
        """
        try:
            tell(self.session.run(), progress)
        except SA3DError:
            self.session.take_back()
            raise

    def resume(self, segmentation: Segmentation) -> None:
        """Take the objects of a segmentation of this scene in, to go on with them.

        Raises:
            SA3DError: it belongs to another scene, or objects of their names are here already.
        """
        self.prepare()
        self.session.resume(segmentation)

    def undo(self) -> bool:
        """Take the last step back; False if there is none."""
        return self.session.undo()

    def redo(self) -> bool:
        """Do again what was undone last; False if there is nothing."""
        return self.session.redo()

    def save(
        self, folder: Path | str, *, overwrite: bool = False, notes: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Write all objects to a folder ``load`` and ``sa3d export`` open.

        Args:
            notes: to be kept in the folder with what is noted about where it comes from.

        Returns:
            The report that lies in it as ``results.json``; ``overlay.png`` is beside it.

        Raises:
            SA3DError: the folder exists and may not be replaced, or the disk is full.
        """
        made = self.segmented
        made.provenance.update(notes or {})
        return write_segmentation(made, Path(folder), overwrite=overwrite)
