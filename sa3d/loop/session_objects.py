"""The objects of a session by name, in their order, and how they were before an action."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sa3d.base.errors import SA3DError
from sa3d.loop.config import LoopConfig
from sa3d.loop.object_loop import ObjectLoop
from sa3d.loop.object_state import ObjectState
from sa3d.objects.colors import Color, free_color
from sa3d.objects.prompts import Prompt
from sa3d.scene.scene import Scene
from sa3d.segmenters.protocol import PromptableSegmenter


@dataclass(frozen=True)
class Step:
    """How things were before (or after) an action.

    Attributes:
        objects: those that changed, None: not there.
        order, colors: of all objects.
    """

    objects: Mapping[str, ObjectState | None]
    order: Sequence[str]
    colors: Mapping[str, Color]


class SessionObjects(dict[str, ObjectLoop]):
    """Loops by the names of their objects.

    Attributes:
        colors: of the objects, by name. They keep them, whatever becomes of others.
    """

    def __init__(self, scene: Scene, segmenter: PromptableSegmenter, config: LoopConfig) -> None:
        super().__init__()
        self._scene, self._segmenter, self._config = scene, segmenter, config
        self.colors: dict[str, Color] = {}

    def new(self, name: str, prompts: Sequence[Prompt]) -> ObjectLoop:
        """A loop that has not begun; it is not among the others yet."""
        return ObjectLoop(self._scene, self._segmenter, name, prompts, self._config)

    def add(self, name: str, loop: ObjectLoop, color: Color | None = None) -> None:
        """Put a loop among the others, in place of one of its name.

        Args:
            color: of an object that is new; the first free one if left out.
        """
        self[name] = loop
        if name not in self.colors:
            self.colors[name] = color or free_color(self.colors.values())

    def remove(self, name: str) -> None:
        """Take an object away; a part being split off it is an object like any other then."""
        del self[name], self.colors[name]
        for loop in self.values():
            if loop.state.whole == name:
                loop.state.whole = None

    def known(self, name: str) -> ObjectLoop:
        """An object's loop.

        Raises:
            SA3DError: there is no such object.
        """
        if name not in self:
            raise SA3DError(f"no object {name!r} here; there are: {', '.join(self) or 'none'}")
        return self[name]

    def finished(self, name: str) -> ObjectLoop:
        """An object's loop that has come to its end.

        Raises:
            SA3DError: there is no such object, or something is left to be done about it.
        """
        loop = self.known(name)
        pending = any(other.state.whole == name for other in self.values())
        if loop.state.unfinished or pending:
            raise SA3DError(f"object {name!r} is not finished: let it run to its end first")
        return loop

    def now(self, names: Iterable[str]) -> Step:
        """How things are: copies of the named objects, and the order and colors of all.

        A part and what it is being split off change together, so both are copied.
        """
        touched = set(names)
        pairs = [{name, loop.state.whole} for name, loop in self.items() if loop.state.whole]
        touched |= {name for pair in pairs if pair & touched for name in pair if name in self}
        objects = {name: self[name].state.copy() if name in self else None for name in touched}
        return Step(objects, list(self), dict(self.colors))

    def put_back(self, step: Step) -> None:
        """Make the objects of a step, and the order and colors of all, what they were."""
        for name, state in step.objects.items():
            if state is None:
                self.pop(name, None)
            else:
                self[name] = self.new(name, state.prompts)
                self[name].state = state
        ordered = {name: self[name] for name in step.order if name in self} | self
        self.clear()
        self.update(ordered)
        colors = self.colors | dict(step.colors)
        self.colors = {name: colors[name] for name in self}

    def swap(self, step: Step) -> Step:
        """``put_back``, and give how they were until then."""
        now = self.now(step.objects)
        self.put_back(step)
        return now
