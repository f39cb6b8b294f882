"""Segmenting as a sequence of steps, one view each, for a trainer to take one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nerfstudio_plugin.api.open_scene import OpenScene
from nerfstudio_plugin.display.shown_objects import ShownObjects, shown_objects
from nerfstudio_plugin.viewer.studio import Studio
from sa3d.detectors.protocol import TextDetector
from sa3d.objects.events import Event, Finished, RoundDone, RoundStarted, ViewDone
from sa3d.objects.prompts import Prompt
from sa3d.search.config import WordsConfig
from sa3d.search.text_prompts import WordsChoice


@dataclass(frozen=True)
class Step:
    """One view was prepared or visited.

    Attributes:
        text: what happened, in words.
        disagreement: 1 - IoU between the view's mask and what the other views say of it; 0 for a
            view that was prepared.
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
            show: called with the objects as they stand, after every view.
            detector: finds what prompts name in words; needed if one does.
            words: how it is used.

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
        """The scene and its objects; the panel's user may have opened others in their place."""
        return self._opened if self._panel is None else self._panel.opened

    @property
    def most_steps(self) -> int:
        """How many steps it takes if no object's loop converges."""
        rounds = self.opened.settings.loop.convergence.max_rounds
        return len(self.opened.scene.views) * (1 + rounds * len(self.names)) + len(self._prompts)

    @property
    def lifted(self) -> bool:
        """Whether there is something to save: a view was lifted, and its object not deleted."""
        return self._shown is not None and bool(self.opened.objects)

    def accompany(self, panel: Studio) -> None:
        """Tell a panel what happens, and do between two steps what its user wants."""
        self._panel = panel

    def leave_to_panel(self) -> None:
        """There are no more steps: from now on the panel's worker has a thread of its own."""
        if self._panel is not None:
            self._panel.worker.start()

    def run(self) -> Iterator[Step]:
        """Prepare every view, then segment until every object is finished.

        Raises:
            SA3DError: see ``Scene.prepare``, ``Session.run`` and
                ``WordSearch.result``.
        """
        for done in self.opened.scene.prepare():
            verb = "was prepared before" if done.cached else "prepared"
            yield Step(f"{done.view}: {verb} ({done.index + 1} of {done.total} views)")
        prompts, choices = self.opened.find_words(self._prompts, self._detector, self._words)
        heading = [_choice_text(choice) for choice in choices]
        self.opened.session.add_prompts(prompts)
        if self._panel is not None:
            self._panel.show_training(prompts)
        for event in self._events():
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
        yield Step("\n".join(heading))

    def _events(self) -> Iterator[Event]:
        """The session's events; what the panel's user wants is done between two of them."""
        events = self.opened.session.run()
        while (event := next(events, None)) is not None:
            yield event
            if self._panel is not None and self._panel.worker.run_pending():
                events = self.opened.session.run()  # goes on from what is there now

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
