"""Session: prompts in, events out, and a segmentation at the end.

Every change to a session is recorded in its ``history``, as a ``SessionChange`` that undoes the
change. A client may pass its own history (``Session(..., history=history)``). With
``History.group`` it can then combine changes to the session and to its own state into one undoable
action; see ``sa3d.base.history`` for an example.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sa3d.base.errors import ObjectsFailedError, SA3DError
from sa3d.base.history import History
from sa3d.loop.config import LoopConfig
from sa3d.loop.correction import correct
from sa3d.loop.object_edits import merge, remove_part, split_off
from sa3d.loop.object_loop import ObjectLoop
from sa3d.loop.object_state import ObjectState
from sa3d.loop.prompt_preview import PromptPreview, preview_prompts
from sa3d.loop.rounds import run_rounds
from sa3d.objects.colors import Color, checked_color, free_color
from sa3d.objects.events import Event
from sa3d.objects.names import check_new_name
from sa3d.objects.prompts import Prompt, check_marks_object, check_together, prompts_in_views
from sa3d.objects.segmentation import Segmentation
from sa3d.scene.scene import Scene
from sa3d.segmenters.protocol import PromptableSegmenter


@dataclass(frozen=True, eq=False)
class SessionChange:
    """The objects of a session as they were before a change.

    Attributes:
        states: of the objects that the change touches; None for one that did not exist.
        order: the names of all objects.
        colors: of all objects.
    """

    session: Session
    states: Mapping[str, ObjectState | None]
    order: Sequence[str]
    colors: Mapping[str, Color]

    def swap(self) -> SessionChange:
        """Restore the objects; return the change that reverses this."""
        reverse = self.session._change(self.states)
        self.session._restore(self.states, self.order, self.colors)
        return reverse


class Session:
    """Session that segments and corrects objects in a prepared scene.

    The field is never evaluated here: the scene's operators contain all that is needed.

    Prompts added to an object that ``run`` has finished are corrections: their views vote again,
    with high confidence, and the views nearest to them are visited again. Other views do not
    change. Every action can be undone and redone, bit for bit.

    Attributes:
        scene: the prepared scene.
        segmenter: the 2D segmenter.
        config: the loop's settings.
        history: the actions that can be undone; may be shared with a client.
    """

    def __init__(
        self,
        scene: Scene,
        segmenter: PromptableSegmenter,
        config: LoopConfig | None = None,
        history: History | None = None,
    ) -> None:
        """Begin without objects.

        Args:
            history: records the changes; by default, the session has its own history.
        """
        self.scene, self.segmenter, self.config = scene, segmenter, config or LoopConfig()
        self.history = history or History()
        self._loops: dict[str, ObjectLoop] = {}
        self._colors: dict[str, Color] = {}

    def add_prompts(
        self, prompts: Sequence[Prompt], colors: Mapping[str, Color] | None = None
    ) -> None:
        """Add prompts; those with the same object name belong together.

        Args:
            prompts: for new objects, or corrections of objects that ``run`` has finished.
            colors: by name, for new objects; the first free colors by default.

        Raises:
            SA3DError: there are no prompts, a view is unknown, a prompt lies outside its photo, or
                prompts of a view contradict each other. Nothing is added then.
        """
        changed = self._merged_prompts(prompts)
        self.history.remember(self._change(changed))
        for name, all_prompts in changed.items():
            self._set_prompts(name, all_prompts, (colors or {}).get(name))

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Check prompts as ``add_prompts`` does; the scene need not be prepared yet.

        Raises:
            SA3DError: see ``add_prompts``.
        """
        self._merged_prompts(prompts)

    def add_objects(self, segmentation: Segmentation) -> None:
        """Add the objects of a segmentation; unlike ``resume``, this can be undone.

        Raises:
            SA3DError: see ``resume``. Nothing is added then.
        """
        before = self._change(segmentation.objects)
        self.resume(segmentation)
        self.history.remember(before)

    def resume(self, segmentation: Segmentation) -> None:
        """Continue a segmentation as if it had been made in this session; this cannot be undone.

        Raises:
            SA3DError: the segmentation belongs to another scene, an object's name is taken, or a
                photo cannot be read. Nothing is added then.
        """
        segmentation.check_fits(self.scene)
        for name in segmentation.objects:
            check_new_name(name, self._loops)
        loops = {
            name: self._new_loop(name, one.prompts) for name, one in segmentation.objects.items()
        }
        for name, loop in loops.items():
            loop.resume(segmentation.objects[name])
        for name, loop in loops.items():  # all or none
            self._add(name, loop, segmentation.colors[name])

    def remove_prompt(self, name: str, position: int) -> None:
        """Remove a prompt of an object; if it was the last prompt, remove the object.

        Args:
            name: of the object.
            position: of the prompt in ``prompts(name)``.

        Raises:
            SA3DError: there is no such prompt.
        """
        left = self.prompts(name)
        if not 0 <= position < len(left):
            raise SA3DError(f"object {name!r} has {len(left)} prompts, none at {position}")
        self.history.remember(self._change([name]))
        del left[position]
        if left:
            self._set_prompts(name, left)
        else:
            self._remove(name)

    def remove_object(self, name: str) -> None:
        """Remove an object.

        Raises:
            SA3DError: there is no such object.
        """
        self._loop(name)
        self.history.remember(self._change([name]))
        self._remove(name)

    def rename_object(self, name: str, new: str) -> None:
        """Rename an object.

        Raises:
            SA3DError: there is no such object, or the new name is invalid or taken.
        """
        self._loop(name)
        check_new_name(new, [other for other in self._loops if other != name])
        parts = [one for one, loop in self._loops.items() if loop.state.split_from == name]
        self.history.remember(self._change([name, new]))
        order = [new if one == name else one for one in self._loops]
        state = self._loops[name].state.renamed(new)
        colors = {new if one == name else one: c for one, c in self.colors.items()}
        self._restore({name: None, new: state}, order, colors)
        for part in parts:
            self._loops[part].state.split_from = new

    def set_color(self, name: str, color: Color) -> None:
        """Change an object's color.

        Raises:
            SA3DError: there is no such object, or the color is invalid.
        """
        self._loop(name)
        color = checked_color(color)
        self.history.remember(self._change([]))
        self._colors[name] = color

    def merge_objects(self, names: Sequence[str], into: str) -> None:
        """Merge several objects into one, with the prompts of all.

        Args:
            names: of the objects.
            into: the name of the merged object: a new one or one of ``names``. The merged object
                gets the place and the color of the first object.

        Raises:
            SA3DError: there are fewer than two objects, one is unknown or not finished, or the name
                is invalid or taken. Nothing is changed then.
        """
        names = list(dict.fromkeys(names))
        loops = [self._finished_loop(name) for name in names]
        if len(loops) < 2:
            raise SA3DError("cannot merge fewer than two objects: name at least two")
        if into not in names:
            check_new_name(into, [other for other in self._loops if other not in names])
        merged = merge(loops, into)
        self.history.remember(self._change([*names, into]))
        order = [into if one == names[0] else one for one in self._loops if one not in names[1:]]
        removed: dict[str, ObjectState | None] = dict.fromkeys(names)
        colors = {one: c for one, c in self.colors.items() if one not in names}
        colors[into] = self.colors[names[0]]
        self._restore(removed | {into: merged.state}, order, colors)

    def split_object(self, name: str, prompts: Sequence[Prompt], new_name: str) -> None:
        """Split off the part of an object that prompts mark, as a new object.

        In the prompted views the part is the segmenter's mask inside the object's present mask.
        ``run`` then finds the part in all other views, and removes it from the object there.

        Args:
            name: of the object to split.
            prompts: on the part, in one or more views; their object names are ignored.
            new_name: of the part.

        Raises:
            SA3DError: the object is unknown or not finished, the new name is invalid or taken, or
                the prompts mark nothing of the object, or all of it. Nothing is changed then.
        """
        whole = self._finished_loop(name)
        check_new_name(new_name, self._loops)
        named = [replace(prompt, object=new_name) for prompt in prompts]
        prompts = prompts_in_views(named, self.scene.views)
        before = self._change([name, new_name])
        try:
            part = split_off(whole, prompts, new_name)
        except BaseException:
            before.swap()  # it may have failed, or been stopped, after its first view
            raise
        self._add(new_name, part)
        self.history.remember(before)

    @property
    def colors(self) -> dict[str, Color]:
        """Colors of the objects by name, in the order of the objects."""
        return {name: self._colors[name] for name in self._loops}

    def prompts(self, name: str) -> list[Prompt]:
        """Return an object's prompts in their order; none if there is no such object."""
        return list(self._loops[name].state.prompts) if name in self._loops else []

    def preview(self, prompts: Sequence[Prompt]) -> PromptPreview:
        """Return the mask that prompts of one object would give, without adding the prompts.

        The mask is that of the last prompt's view.

        Raises:
            SA3DError: a view is unknown, or the segmenter finds nothing at the prompts.
        """
        name = prompts[-1].object
        loop = self._loops.get(name) or self._new_loop(name, prompts)
        return preview_prompts(loop, [*self.prompts(name), *prompts])

    def run(self) -> Iterator[Event]:
        """Segment all objects that have new prompts; correct those that were finished before.

        New objects are segmented in one pass over the views, see ``sa3d.loop.rounds``. The run may
        be stopped between any two events; the next one continues from there.

        Objects stand alone: one that fails does not keep the others from being finished. At the
        end, a new object that failed is removed, and a correction that failed is dropped with its
        prompts; then the error is raised.

        Raises:
            ObjectsFailedError: objects failed, see ``ObjectLoop.lift`` and ``correct``.
            SA3DError: a view cannot be segmented for any object, as its photo cannot be read.
        """
        loops = [loop for loop in self._loops.values() if loop.state.unfinished]
        failed: dict[str, str] = {}
        begun = [loop for loop in loops if loop.state.pending_views is None]
        for loop in begun:
            yield from _alone(loop, loop.lift(), failed)
        yield from run_rounds([loop for loop in begun if loop.name not in failed])
        for loop in loops:
            if loop.state.pending_views:
                yield from _alone(loop, correct(loop), failed)
        for part in list(self._loops.values()):
            whole = part.state.split_from
            if whole is not None and whole in self._loops:
                yield from remove_part(self._loops[whole], part)
        if failed:
            for name in failed:
                self._drop_changes(name)
            raise ObjectsFailedError(failed, [one.name for one in loops if one.name not in failed])

    @property
    def unfinished(self) -> bool:
        """True if ``run`` has something left to do."""
        return any(loop.state.unfinished for loop in self._loops.values())

    def undo(self) -> bool:
        """Undo the last action, with the results that followed; False if there is none."""
        return self.history.undo()

    def redo(self) -> bool:
        """Redo the action that was undone last; False if there is none."""
        return self.history.redo()

    def take_back(self) -> None:
        """Undo the last action because it failed; the action cannot be redone."""
        self.history.take_back()

    def result(self) -> Segmentation:
        """Return the segmentation in its present state."""
        return Segmentation(
            scene_key=self.scene.key,
            elements=self.scene.elements,
            objects={
                name: replace(loop.result(), color=self._colors[name])
                for name, loop in self._loops.items()
            },
            prior=self.config.prior,
            prior_weight=self.config.prior_weight,
            lam=self.config.lam,
        )

    def _merged_prompts(self, prompts: Sequence[Prompt]) -> dict[str, list[Prompt]]:
        """Return old and new prompts together, for each object that has new ones, by name.

        Raises:
            SA3DError: see ``add_prompts``.
        """
        prompts = prompts_in_views(prompts, self.scene.views)
        changed: dict[str, list[Prompt]] = {}
        for name in dict.fromkeys(prompt.object for prompt in prompts):
            if name not in self._loops:
                check_new_name(name, [*self._loops, *changed])
            merged = [*self.prompts(name), *(p for p in prompts if p.object == name)]
            for view in dict.fromkeys(prompt.view for prompt in merged):
                here = [prompt for prompt in merged if prompt.view == view]
                check_together(here)
                if not self._is_correction(name):
                    check_marks_object(here)
            changed[name] = merged
        return changed

    def _set_prompts(
        self, name: str, prompts: Sequence[Prompt], color: Color | None = None
    ) -> None:
        if self._is_correction(name):
            self._loops[name].state.change_prompts(prompts)
        else:
            self._add(name, self._new_loop(name, prompts), color)

    def _is_correction(self, name: str) -> bool:
        """Return whether new prompts of an object are corrections."""
        return name in self._loops and self._loops[name].state.begun

    def _new_loop(self, name: str, prompts: Sequence[Prompt]) -> ObjectLoop:
        """Make a loop that has not begun, without adding it to the session's objects."""
        return ObjectLoop(self.scene, self.segmenter, name, prompts, self.config)

    def _add(self, name: str, loop: ObjectLoop, color: Color | None = None) -> None:
        """Add an object, or replace the object of this name and keep its color.

        Args:
            color: of a new object; by default, the first free color.
        """
        self._loops[name] = loop
        if name not in self._colors:
            self._colors[name] = color or free_color(self._colors.values())

    def _drop_changes(self, name: str) -> None:
        """Restore an object as it was before its unfinished prompts; remove a new one."""
        loop = self._loops[name]
        if loop.state.uncorrected is None:
            self._remove(name)
        else:
            loop.state = loop.state.uncorrected

    def _remove(self, name: str) -> None:
        """Remove an object; a part being split off from it becomes an ordinary object."""
        del self._loops[name], self._colors[name]
        for loop in self._loops.values():
            if loop.state.split_from == name:
                loop.state.split_from = None

    def _loop(self, name: str) -> ObjectLoop:
        """Return an object's loop.

        Raises:
            SA3DError: there is no such object.
        """
        if name not in self._loops:
            there = ", ".join(self._loops) or "none"
            raise SA3DError(f"no object {name!r} here; there are: {there}")
        return self._loops[name]

    def _finished_loop(self, name: str) -> ObjectLoop:
        """Return the loop of an object that is finished.

        Raises:
            SA3DError: there is no such object, or ``run`` has something left to do for it.
        """
        loop = self._loop(name)
        pending = any(other.state.split_from == name for other in self._loops.values())
        if loop.state.unfinished or pending:
            raise SA3DError(f"object {name!r} is not finished: let it run to its end first")
        return loop

    def _change(self, names: Iterable[str]) -> SessionChange:
        """Return the change that restores the present state of some objects.

        A part and the object that it is split off from change together, so both are copied.
        """
        touched = set(names)
        loops = self._loops
        pairs = [
            {name, loop.state.split_from} for name, loop in loops.items() if loop.state.split_from
        ]
        touched |= {name for pair in pairs if pair & touched for name in pair if name in loops}
        states = {name: loops[name].state.copy() if name in loops else None for name in touched}
        return SessionChange(self, states, list(loops), dict(self._colors))

    def _restore(
        self,
        states: Mapping[str, ObjectState | None],
        order: Sequence[str],
        colors: Mapping[str, Color],
    ) -> None:
        """Replace some objects, and the order and colors of all; see ``SessionChange``."""
        for name, state in states.items():
            if state is None:
                self._loops.pop(name, None)
            else:
                self._loops[name] = self._new_loop(name, state.prompts)
                self._loops[name].state = state
        self._loops = {n: self._loops[n] for n in order if n in self._loops} | self._loops
        merged = self._colors | dict(colors)
        self._colors = {name: merged[name] for name in self._loops}


def _alone(loop: ObjectLoop, events: Iterator[Event], failed: dict[str, str]) -> Iterator[Event]:
    """Yield the events of one object; if it fails, restore its state and enter it in ``failed``.

    Then the next run tries again, if this one is stopped before its end.
    """
    before = loop.state.copy()
    try:
        yield from events
    except SA3DError as error:
        loop.state, failed[loop.name] = before, str(error)
