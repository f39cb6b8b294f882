"""A user's work on a prepared scene: prompts in, events out, and a segmentation at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sa3d.correction import correct
from sa3d.errors import SA3DError
from sa3d.events import Event
from sa3d.loop_config import LoopConfig
from sa3d.object_edits import let_go, merge, split_off
from sa3d.object_loop import ObjectLoop
from sa3d.object_state import ObjectState
from sa3d.prompt_preview import PromptPreview, preview_prompts
from sa3d.prompts import Prompt, check_marks_object, check_object_name, check_together
from sa3d.rounds import run_rounds
from sa3d.scene import Scene
from sa3d.segmentation import Segmentation
from sa3d.segmenter import PromptableSegmenter

_HISTORY = 100
"""Steps that can be undone."""


@dataclass(frozen=True)
class _Step:
    """Objects as they were before (or after) an action, None: not there; and the order of all."""

    objects: Mapping[str, ObjectState | None]
    order: Sequence[str]


class Session:
    """Segments objects in a prepared scene, and corrects them.

    The NeRF is never evaluated here: all that is needed of it lies in the scene's operators.

    Prompts added to an object that :meth:`run` has finished are corrections: the views they are in
    count fully, their neighbours are asked again, and everything else stays. Every action can be
    undone and redone, bit for bit.
    """

    def __init__(
        self, scene: Scene, segmenter: PromptableSegmenter, config: LoopConfig | None = None
    ) -> None:
        self.scene, self.segmenter, self.config = scene, segmenter, config or LoopConfig()
        self._loops: dict[str, ObjectLoop] = {}
        self._undo: list[_Step] = []
        self._redo: list[_Step] = []

    def add_prompts(self, prompts: Sequence[Prompt]) -> None:
        """Add prompts; those of one object name belong together.

        Raises:
            SA3DError: no prompts, an unknown view, a prompt outside its image, or prompts of a view
                that contradict each other. Nothing is added.
        """
        prompts = self._checked(prompts)
        changed: dict[str, list[Prompt]] = {}
        for name in dict.fromkeys(prompt.object for prompt in prompts):
            mine = [*self.prompts(name), *(p for p in prompts if p.object == name)]
            for view in {self.scene.view_index(prompt.view) for prompt in mine}:
                here = [p for p in mine if self.scene.view_index(p.view) == view]
                check_together(here)
                if not self._goes_on(name):
                    check_marks_object(here)
            changed[name] = mine
        self._remember(self._now(changed))
        for name, mine in changed.items():
            self._set_prompts(name, mine)

    def resume(self, segmentation: Segmentation) -> None:
        """Go on with a finished segmentation, as if it had been made in this session.

        Raises:
            SA3DError: it belongs to another scene, or an object of its name is here already.
        """
        if segmentation.scene_key != self.scene.key:
            raise SA3DError("this segmentation was made in another scene: open that one")
        for name, one in segmentation.objects.items():
            if name in self._loops:
                raise SA3DError(f"there is an object {name!r} here already")
            loop = ObjectLoop(self.scene, self.segmenter, name, one.prompts, self.config)
            loop.resume(one)
            self._loops[name] = loop

    def remove_prompt(self, name: str, position: int) -> None:
        """Take one of an object's prompts back; with the last one the object goes.

        Raises:
            SA3DError: there is no such prompt.
        """
        left = self.prompts(name)
        if not 0 <= position < len(left):
            raise SA3DError(f"object {name!r} has {len(left)} prompts, none at {position}")
        self._remember(self._now([name]))
        del left[position]
        if left:
            self._set_prompts(name, left)
        else:
            del self._loops[name]

    def remove_object(self, name: str) -> None:
        """Forget an object.

        Raises:
            SA3DError: there is no such object.
        """
        self._known(name)
        self._remember(self._now([name]))
        del self._loops[name]

    def rename_object(self, name: str, new: str) -> None:
        """Call an object otherwise.

        Raises:
            SA3DError: there is no such object, or the new name is taken or cannot be one.
        """
        self._known(name)
        self._check_free(new)
        parts = [one for one, loop in self._loops.items() if loop.state.whole == name]
        self._remember(self._now([name, new, *parts]))
        order = [new if one == name else one for one in self._loops]
        state = self._loops[name].state.renamed(new)
        self._put_back(_Step({name: None, new: state}, order))
        for part in parts:
            self._loops[part].state.whole = new

    def merge_objects(self, names: Sequence[str], into: str) -> None:
        """Make one object of several; their prompts become its prompts.

        Args:
            into: its name: a new one or one of ``names``. It takes the place of the first.

        Raises:
            SA3DError: fewer than two objects, one is unknown or not finished, or the name is taken
                or cannot be one. Nothing is changed.
        """
        names = list(dict.fromkeys(names))
        loops = [self._finished(name) for name in names]
        if len(loops) < 2:
            raise SA3DError("merging takes two objects or more")
        if into not in names:
            self._check_free(into)
        merged = merge(loops, into)
        self._remember(self._now([*names, into]))
        order = [into if one == names[0] else one for one in self._loops if one not in names[1:]]
        gone: dict[str, ObjectState | None] = dict.fromkeys(names)
        self._put_back(_Step(gone | {into: merged.state}, order))

    def split_object(self, name: str, prompts: Sequence[Prompt], new_name: str) -> None:
        """Make an object of its own of the part of an object that prompts mark.

        In the prompted views that is the segmenter's mask within the object's present mask, and the
        rest keeps the other; :meth:`run` finds the part in all other views, and takes it out of
        what they say about the rest.

        Args:
            prompts: in one or more views; the objects they name do not matter.

        Raises:
            SA3DError: the object is unknown or not finished, the new name is taken or cannot be
                one, or the prompts mark nothing of the object, or all of it. Nothing is changed.
        """
        whole = self._finished(name)
        self._check_free(new_name)
        prompts = self._checked([replace(prompt, object=new_name) for prompt in prompts])
        before = self._now([name, new_name])
        self._loops[new_name] = split_off(whole, prompts, new_name)
        self._remember(before)

    def prompts(self, name: str) -> list[Prompt]:
        """An object's prompts in the order they were given; none if there is no such object."""
        return list(self._loops[name].state.prompts) if name in self._loops else []

    def preview(self, prompts: Sequence[Prompt]) -> PromptPreview:
        """What prompts of one object would mark in the view of the last one, if they were added.

        Raises:
            SA3DError: an unknown view, or the segmenter finds nothing there.
        """
        name = prompts[-1].object
        loop = self._loops.get(name)
        if loop is None:
            loop = ObjectLoop(self.scene, self.segmenter, name, prompts, self.config)
        return preview_prompts(loop, [*self.prompts(name), *prompts])

    def run(self) -> Iterator[Event]:
        """Segment what has new prompts: objects from the start, finished ones by correction.

        New objects are segmented in one pass over the views, see :mod:`sa3d.rounds`. May be stopped
        between any two events; the next run goes on from there.

        Raises:
            SA3DError: see :meth:`sa3d.object_loop.ObjectLoop.run`.
        """
        loops = list(self._loops.values())
        begun = [loop for loop in loops if loop.state.waiting is None]
        for loop in begun:
            yield from loop.lift()
        yield from run_rounds(begun)
        for loop in loops:
            if loop.state.waiting:
                yield from correct(loop)
        for part in list(self._loops.values()):
            if part.state.whole in self._loops:
                yield from let_go(self._loops[part.state.whole], part)

    @property
    def unfinished(self) -> bool:
        """Whether :meth:`run` has something left to do."""
        states = [loop.state for loop in self._loops.values()]
        return any(one.finished is None or one.waiting or one.whole for one in states)

    def undo(self) -> bool:
        """Take the last action back, with all that followed from it; False if there is none."""
        return self._step(self._undo, self._redo)

    def redo(self) -> bool:
        """Do again what was undone last; False if there is nothing."""
        return self._step(self._redo, self._undo)

    def result(self) -> Segmentation:
        """The segmentation as it stands."""
        return Segmentation(
            scene_key=self.scene.key,
            elements=self.scene.elements,
            objects={name: loop.result() for name, loop in self._loops.items()},
            prior=self.config.prior,
            prior_weight=self.config.prior_weight,
            lam=self.config.lam,
        )

    def _checked(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        """The prompts, with their views' own names.

        Raises:
            SA3DError: there is none, or one does not fit its view.
        """
        if not prompts:
            raise SA3DError("no prompt given: mark the object in at least one view")
        views = [self.scene.views[self.scene.view_index(prompt.view)] for prompt in prompts]
        for prompt, view in zip(prompts, views, strict=True):
            prompt.check_against(view.camera.width, view.camera.height)
            prompt.load_mask(view.camera.width, view.camera.height)
        return [replace(p, view=view.name) for p, view in zip(prompts, views, strict=True)]

    def _known(self, name: str) -> ObjectLoop:
        if name not in self._loops:
            raise SA3DError(f"no object {name!r} here; there are: {', '.join(self._loops)}")
        return self._loops[name]

    def _finished(self, name: str) -> ObjectLoop:
        loop = self._known(name)
        pending = any(other.state.whole == name for other in self._loops.values())
        if loop.state.finished is None or loop.state.waiting or loop.state.whole or pending:
            raise SA3DError(f"object {name!r} is not finished: let it run to its end first")
        return loop

    def _check_free(self, name: str) -> None:
        check_object_name(name)
        if name in self._loops:
            raise SA3DError(f"there is an object {name!r} already: give another name")

    def _set_prompts(self, name: str, prompts: Sequence[Prompt]) -> None:
        """Give an object its prompts, and note what :meth:`run` has to do about them."""
        if not self._goes_on(name):
            self._loops[name] = ObjectLoop(self.scene, self.segmenter, name, prompts, self.config)
            return
        state = self._loops[name].state
        old = state.prompts
        kept = {id(prompt) for prompt in old} & {id(prompt) for prompt in prompts}
        changed = [prompt for prompt in [*old, *prompts] if id(prompt) not in kept]
        views = {self.scene.view_index(prompt.view) for prompt in changed}
        state.prompts = list(prompts)
        state.waiting = (state.waiting or frozenset()) | views

    def _goes_on(self, name: str) -> bool:
        """Whether new prompts of an object correct what is there."""
        if name not in self._loops:
            return False
        state = self._loops[name].state
        return state.progress is not None or state.finished is not None

    def _remember(self, step: _Step) -> None:
        self._undo.append(step)
        del self._undo[:-_HISTORY]
        self._redo.clear()

    def _now(self, names: Iterable[str]) -> _Step:
        loops = self._loops
        objects = {name: loops[name].state.copy() if name in loops else None for name in names}
        return _Step(objects, list(loops))

    def _step(self, source: list[_Step], other: list[_Step]) -> bool:
        if not source:
            return False
        step = source.pop()
        other.append(self._now(step.objects))
        self._put_back(step)
        return True

    def _put_back(self, step: _Step) -> None:
        loops = self._loops
        for name, state in step.objects.items():
            if state is None:
                loops.pop(name, None)
            else:
                loop = ObjectLoop(self.scene, self.segmenter, name, state.prompts, self.config)
                loop.state = state
                loops[name] = loop
        self._loops = {name: loops[name] for name in step.order if name in loops} | loops
