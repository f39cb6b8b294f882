"""A user's work on a prepared scene: prompts in, events out, and a segmentation at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sa3d.base.errors import SA3DError
from sa3d.base.history import History
from sa3d.loop.config import LoopConfig
from sa3d.loop.correction import correct
from sa3d.loop.object_edits import let_go, merge, split_off
from sa3d.loop.object_state import ObjectState
from sa3d.loop.prompt_preview import PromptPreview, preview_prompts
from sa3d.loop.rounds import run_rounds
from sa3d.loop.session_objects import SessionObjects, Step
from sa3d.objects.colors import Color, checked_color
from sa3d.objects.events import Event
from sa3d.objects.prompts import (
    Prompt,
    check_marks_object,
    check_new_name,
    check_together,
    prompts_in_views,
)
from sa3d.objects.segmentation import Segmentation
from sa3d.scene.scene import Scene
from sa3d.segmenters.protocol import PromptableSegmenter


class Session:
    """Segments objects in a prepared scene, and corrects them.

    The NeRF is never evaluated here: all that is needed of it lies in the scene's operators.

    Prompts added to an object that ``run`` has finished are corrections: the views they are in
    count fully, their neighbours are asked again, and everything else stays. Every action can be
    undone and redone, bit for bit.
    """

    def __init__(
        self, scene: Scene, segmenter: PromptableSegmenter, config: LoopConfig | None = None
    ) -> None:
        self.scene, self.segmenter, self.config = scene, segmenter, config or LoopConfig()
        self._loops = SessionObjects(scene, segmenter, self.config)
        self._history: History[Step] = History()

    def add_prompts(
        self, prompts: Sequence[Prompt], colors: Mapping[str, Color] | None = None
    ) -> None:
        """Add prompts; those of one object name belong together.

        Args:
            colors: by name, for objects that are new; the first free ones by default.

        Raises:
            SA3DError: no prompts, an unknown view, a prompt outside its image, or prompts of a view
                that contradict each other. Nothing is added.
        """
        changed = self._with(prompts)
        self._history.remember(self._loops.now(changed))
        for name, mine in changed.items():
            self._set_prompts(name, mine, (colors or {}).get(name))

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Check prompts as ``add_prompts`` does; nothing has to be prepared yet.

        Raises:
            SA3DError: see there.
        """
        self._with(prompts)

    def add_objects(self, segmentation: Segmentation) -> None:
        """Add the objects of a segmentation, an action that can be undone; see ``resume``.

        Raises:
            SA3DError: see there. Nothing is added.
        """
        before = self._loops.now(segmentation.objects)
        self.resume(segmentation)
        self._history.remember(before)

    def resume(self, segmentation: Segmentation) -> None:
        """Go on with a segmentation as if it had been made in this session; no action to be undone.

        Raises:
            SA3DError: it belongs to another scene, or an object of its name is here already.
        """
        if segmentation.scene_key != self.scene.key:
            raise SA3DError("this segmentation was made in another scene: open that one")
        for name in segmentation.objects:
            check_new_name(name, self._loops)
        for name, one in segmentation.objects.items():
            loop = self._loops.new(name, one.prompts)
            loop.resume(one)
            self._loops.add(name, loop, segmentation.colors[name])

    def remove_prompt(self, name: str, position: int) -> None:
        """Take one of an object's prompts back; with the last one the object goes.

        Raises:
            SA3DError: there is no such prompt.
        """
        left = self.prompts(name)
        if not 0 <= position < len(left):
            raise SA3DError(f"object {name!r} has {len(left)} prompts, none at {position}")
        self._history.remember(self._loops.now([name]))
        del left[position]
        if left:
            self._set_prompts(name, left)
        else:
            self._loops.remove(name)

    def remove_object(self, name: str) -> None:
        """Forget an object.

        Raises:
            SA3DError: there is no such object.
        """
        self._loops.known(name)
        self._history.remember(self._loops.now([name]))
        self._loops.remove(name)

    def rename_object(self, name: str, new: str) -> None:
        """Call an object otherwise.

        Raises:
            SA3DError: there is no such object, or the new name is taken or cannot be one.
        """
        self._loops.known(name)
        check_new_name(new, self._loops)
        parts = [one for one, loop in self._loops.items() if loop.state.whole == name]
        self._history.remember(self._loops.now([name, new]))
        order = [new if one == name else one for one in self._loops]
        state = self._loops[name].state.renamed(new)
        colors = {new if one == name else one: c for one, c in self.colors.items()}
        self._loops.put_back(Step({name: None, new: state}, order, colors))
        for part in parts:
            self._loops[part].state.whole = new

    def set_color(self, name: str, color: Color) -> None:
        """Show an object in another color.

        Raises:
            SA3DError: there is no such object, or no such color.
        """
        self._loops.known(name)
        color = checked_color(color)
        self._history.remember(self._loops.now([]))
        self._loops.colors[name] = color

    def merge_objects(self, names: Sequence[str], into: str) -> None:
        """Make one object of several; their prompts become its prompts.

        Args:
            into: its name: a new one or one of ``names``. It takes the place of the first, and its
                color.

        Raises:
            SA3DError: fewer than two objects, one is unknown or not finished, or the name is taken
                or cannot be one. Nothing is changed.
        """
        names = list(dict.fromkeys(names))
        loops = [self._loops.finished(name) for name in names]
        if len(loops) < 2:
            raise SA3DError("merging takes two objects or more")
        if into not in names:
            check_new_name(into, self._loops)
        merged = merge(loops, into)
        self._history.remember(self._loops.now([*names, into]))
        order = [into if one == names[0] else one for one in self._loops if one not in names[1:]]
        gone: dict[str, ObjectState | None] = dict.fromkeys(names)
        colors = {one: c for one, c in self.colors.items() if one not in names}
        colors[into] = self.colors[names[0]]
        self._loops.put_back(Step(gone | {into: merged.state}, order, colors))

    def split_object(self, name: str, prompts: Sequence[Prompt], new_name: str) -> None:
        """Make an object of its own of the part of an object that prompts mark.

        In the prompted views that is the segmenter's mask within the object's present mask, and the
        rest keeps the other; ``run`` finds the part in all other views, and takes it out of
        what they say about the rest.

        Args:
            prompts: in one or more views; the objects they name do not matter.

        Raises:
            SA3DError: the object is unknown or not finished, the new name is taken or cannot be
                one, or the prompts mark nothing of the object, or all of it. Nothing is changed.
        """
        whole = self._loops.finished(name)
        check_new_name(new_name, self._loops)
        named = [replace(prompt, object=new_name) for prompt in prompts]
        prompts = prompts_in_views(named, self.scene.views)
        before = self._loops.now([name, new_name])
        self._loops.add(new_name, split_off(whole, prompts, new_name))
        self._history.remember(before)

    @property
    def colors(self) -> dict[str, Color]:
        """The objects' colors by name, in their order."""
        return {name: self._loops.colors[name] for name in self._loops}

    def prompts(self, name: str) -> list[Prompt]:
        """An object's prompts in the order they were given; none if there is no such object."""
        return list(self._loops[name].state.prompts) if name in self._loops else []

    def preview(self, prompts: Sequence[Prompt]) -> PromptPreview:
        """What prompts of one object would mark in the view of the last one, if they were added.

        Raises:
            SA3DError: an unknown view, or the segmenter finds nothing there.
        """
        name = prompts[-1].object
        loop = self._loops.get(name) or self._loops.new(name, prompts)
        return preview_prompts(loop, [*self.prompts(name), *prompts])

    def run(self) -> Iterator[Event]:
        """Segment what has new prompts: objects from the start, finished ones by correction.

        New objects are segmented in one pass over the views, see ``sa3d.loop.rounds``. May be
        stopped between any two events; the next run goes on from there.

        Raises:
            SA3DError: see ``ObjectLoop.run``.
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
            whole = part.state.whole
            if whole is not None and whole in self._loops:
                yield from let_go(self._loops[whole], part)

    @property
    def unfinished(self) -> bool:
        """Whether ``run`` has something left to do."""
        return any(loop.state.unfinished for loop in self._loops.values())

    def undo(self) -> bool:
        """Take the last action back, with all that followed from it; False if there is none."""
        return self._history.undo(self._loops.swap)

    def redo(self) -> bool:
        """Do again what was undone last; False if there is nothing."""
        return self._history.redo(self._loops.swap)

    def take_back(self) -> None:
        """Take the last action back because it failed: as ``undo``, but there is no redo."""
        self._history.take_back(self._loops.swap)

    def result(self) -> Segmentation:
        """The segmentation as it stands."""
        return Segmentation(
            scene_key=self.scene.key,
            elements=self.scene.elements,
            objects={
                name: replace(loop.result(), color=self._loops.colors[name])
                for name, loop in self._loops.items()
            },
            prior=self.config.prior,
            prior_weight=self.config.prior_weight,
            lam=self.config.lam,
        )

    def _with(self, prompts: Sequence[Prompt]) -> dict[str, list[Prompt]]:
        """All prompts of the objects that some more are for, by name.

        Raises:
            SA3DError: see ``add_prompts``.
        """
        prompts = prompts_in_views(prompts, self.scene.views)
        changed: dict[str, list[Prompt]] = {}
        for name in dict.fromkeys(prompt.object for prompt in prompts):
            mine = [*self.prompts(name), *(p for p in prompts if p.object == name)]
            for view in dict.fromkeys(prompt.view for prompt in mine):
                here = [prompt for prompt in mine if prompt.view == view]
                check_together(here)
                if not self._goes_on(name):
                    check_marks_object(here)
            changed[name] = mine
        return changed

    def _set_prompts(
        self, name: str, prompts: Sequence[Prompt], color: Color | None = None
    ) -> None:
        if self._goes_on(name):
            self._loops[name].state.change_prompts(prompts)
        else:
            self._loops.add(name, self._loops.new(name, prompts), color)

    def _goes_on(self, name: str) -> bool:
        """Whether new prompts of an object correct what is there."""
        return name in self._loops and self._loops[name].state.begun
