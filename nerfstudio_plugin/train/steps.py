"""Segmenting as a sequence of steps for a trainer, one view each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.display.shown_objects import ShownObjects, shown_objects
from nerfstudio_plugin.viewer.studio import Studio
from sa3d.base.errors import ObjectsFailedError
from sa3d.base.printable import one_line
from sa3d.detectors.protocol import TextDetector
from sa3d.objects.events import Event, Finished, RoundDone, RoundStarted, ViewDone
from sa3d.objects.prompts import Prompt
from sa3d.search.config import WordsConfig
from sa3d.search.text_prompts import WordsChoice


@dataclass(frozen=True)
class Step:
    """A step: one view was prepared or visited.

    Attributes:
        text: description for the user.
        disagreement: 1 - the agreement of the view's mask; 0 for a view that was prepared.
    """

    text: str
    disagreement: float = 0.0


class SegmentingSteps:
    """Prepares a scene and runs the loop of every object in it, step by step."""

    def __init__(
        self,
        opened: OpenScene,
        prompts: Sequence[Prompt],
        show: Callable[[ShownObjects], None],
        detector: TextDetector | None = None,
        words: WordsConfig | None = None,
    ) -> None:
        """Check the prompts; nothing is evaluated yet.

        Args:
            show: called with the objects after every view.
            detector: finds objects that prompts name in words; needed if one does.
            words: settings of that search.

        Raises:
            SA3DError: a prompt names an unknown view, or lies outside its image; or the segmenter
                cannot be loaded.
        """
        opened.check(prompts)
        self.names = list(dict.fromkeys(prompt.object for prompt in prompts))
        self._opened, self._prompts, self._show = opened, prompts, show
        self._detector, self._words = detector, words
        self._panel: Studio | None = None
        self._shown: ShownObjects | None = None

    @property
    def opened(self) -> OpenScene:
        """The scene with its session, which the panel's user may have replaced by a saved one."""
        return self._opened if self._panel is None else self._panel.opened

    @property
    def max_steps(self) -> int:
        """Number of steps if no object's loop converges."""
        rounds = self.opened.settings.loop.convergence.max_rounds
        return len(self.opened.scene.views) * (1 + rounds * len(self.names)) + len(self._prompts)

    @property
    def lifted(self) -> bool:
        """True if there is an object to save: one was lifted, and not deleted in the panel."""
        return self._shown is not None and bool(self.opened.objects)

    def attach_panel(self, panel: Studio) -> None:
        """Report events to a panel, and run its user's commands between two steps."""
        self._panel = panel

    def start_panel_worker(self) -> None:
        """Run the panel's commands in a thread of its own from now on, after the last step."""
        if self._panel is not None:
            self._panel.worker.start()

    def run(self) -> Iterator[Step]:
        """Prepare every view, then segment until every object is finished.

        An object that fails is named, and the others are segmented.

        Raises:
            ObjectsFailedError: all objects failed.
            SA3DError: see ``Scene.prepare`` and ``Session.run``.
        """
        for done in self.opened.scene.prepare():
            verb = "was prepared before" if done.cached else "prepared"
            yield Step(f"{done.view}: {verb} ({done.index + 1} of {done.total} views)")
        prompts, choices, failed = self.opened.find_words_apart(
            self._prompts, self._detector, self._words
        )
        if not prompts:
            raise ObjectsFailedError(failed)
        heading = [_choice_text(choice) for choice in choices]
        self.opened.session.add_prompts(prompts)
        if self._panel is not None:
            self._panel.show_training(prompts)
        for event in self._events(failed):
            if self._panel is not None:
                self._panel.report(event)
            if isinstance(event, ViewDone):
                self._update(blocks=event.round == 0)
                heading.append(f"{event.object}, {event.view}: {event.outcome} ({event.reason})")
                yield Step("\n".join(heading), 1 - event.agreement)
                heading = []
            elif isinstance(event, RoundStarted):
                heading.append(f"{event.object}: round {event.round}, {event.views} views")
            elif isinstance(event, RoundDone):
                self._update(blocks=True)
                heading.append(_round_text(event))
            elif isinstance(event, Finished):
                self._update(blocks=True)
                heading.append(f"{event.object}: {event.verdict}")
        if failed:
            heading += [f"failed: {one_line(f'{n}: {problem}')}" for n, problem in failed.items()]
            self._update(blocks=True)
        yield Step("\n".join(heading))

    def _events(self, failed: dict[str, str]) -> Iterator[Event]:
        """Yield the session's events, and run the panel's commands between two of them.

        Args:
            failed: gets the problem of each object that fails, by name.

        Raises:
            ObjectsFailedError: all objects failed.
        """
        events = self.opened.session.run()
        try:
            while (event := next(events, None)) is not None:
                yield event
                if self._panel is not None and self._panel.worker.run_pending():
                    events = self.opened.session.run()  # continues with the changed session
        except ObjectsFailedError as error:
            failed |= error.failed
            if not error.kept:
                raise ObjectsFailedError(failed) from error

    def _update(self, *, blocks: bool) -> None:
        scene, result = self.opened.scene, self.opened.segmentation
        self._shown = shown_objects(scene, result, self._shown, build=blocks)
        self._show(self._shown)


def _choice_text(choice: WordsChoice) -> str:
    best = choice.candidates[0]
    return (
        f"{choice.object}: {choice.text!r} found in {best.view} (score {best.score:.2f}, "
        f"{len(choice.candidates) - 1} other candidates)"
    )


def _round_text(done: RoundDone) -> str:
    unvoted = "" if done.unvoted_agreement is None else f", {done.unvoted_agreement:.2f} unvoted"
    return (
        f"{done.object}: round {done.round} done in {done.seconds:.1f} s, {done.accepted} views "
        f"accepted, {done.rejected} rejected, {done.flips} of {done.labelled} elements changed, "
        f"agreement {done.agreement:.2f}{unvoted}"
    )
