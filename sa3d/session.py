"""A user's work on a prepared scene: prompts in, events out, and a segmentation at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sa3d.errors import SA3DError
from sa3d.events import Event
from sa3d.loop_config import LoopConfig
from sa3d.object_loop import ObjectLoop
from sa3d.prompts import Prompt, check_together
from sa3d.scene import Scene
from sa3d.segmentation import Segmentation
from sa3d.segmenter import PromptableSegmenter


class Session:
    """Segments objects in a prepared scene, one after the other.

    The NeRF is never evaluated here: all that is needed of it lies in the scene's operators.
    """

    def __init__(
        self, scene: Scene, segmenter: PromptableSegmenter, config: LoopConfig | None = None
    ) -> None:
        self.scene, self.segmenter, self.config = scene, segmenter, config or LoopConfig()
        self._loops: dict[str, ObjectLoop] = {}

    def add_prompts(self, prompts: Sequence[Prompt]) -> None:
        """Add prompts; those of one object name belong together.

        Raises:
            SA3DError: no prompts, an unknown view, a prompt outside its image, or prompts of a view
                that contradict each other. Nothing is added.
        """
        if not prompts:
            raise SA3DError("no prompt given: mark the object in at least one view")
        for prompt in prompts:
            camera = self.scene.views[self.scene.view_index(prompt.view)].camera
            prompt.check_against(camera.width, camera.height)
            prompt.load_mask(camera.width, camera.height)
        loops: dict[str, ObjectLoop] = {}
        for name in dict.fromkeys(prompt.object for prompt in prompts):
            earlier = self._loops[name].prompts if name in self._loops else []
            mine = [*earlier, *(prompt for prompt in prompts if prompt.object == name)]
            for view in {self.scene.view_index(prompt.view) for prompt in mine}:
                check_together([p for p in mine if self.scene.view_index(p.view) == view])
            loops[name] = ObjectLoop(self.scene, self.segmenter, name, mine, self.config)
        self._loops |= loops

    def run(self) -> Iterator[Event]:
        """Run every object's loop that has not finished.

        Raises:
            SA3DError: see :meth:`sa3d.object_loop.ObjectLoop.run`.
        """
        for loop in self._loops.values():
            if loop.finished is None:
                yield from loop.run()

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
