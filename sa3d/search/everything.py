"""Everything in the image: proposes objects, runs each one's loop, keeps what views agree on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.loop.config import LoopConfig
from sa3d.loop.session import Session
from sa3d.objects.events import Event, Finished
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import ObjectResult, Segmentation
from sa3d.scene.scene import Scene
from sa3d.search.config import EverythingConfig
from sa3d.search.object_proposals import MasksProposed, ObjectProposal, ObjectProposer
from sa3d.segmenters.protocol import PromptableSegmenter
from sa3d.voting.extent import Extent


@dataclass(frozen=True)
class ObjectsProposed:
    """All views were searched; ``count`` objects were proposed and their loops begin."""

    count: int


@dataclass(frozen=True)
class FoundObject:
    """A row of the table of objects.

    Attributes:
        name: ``object_1`` and so on where they were found without a prompt.
        views: how many views the object was found in.
        size: longest side of its extent, in scene units.
        agreement: mean IoU of its views' masks with what all other views say there.
        elements: how many elements carry its label.
    """

    name: str
    views: int
    size: float
    agreement: float
    elements: int


class EverythingSearch:
    """Finds and segments all objects of a prepared scene, without a prompt.

    Attributes:
        finished: names of the proposed objects whose loop has finished.
    """

    def __init__(
        self,
        scene: Scene,
        segmenter: PromptableSegmenter,
        loop: LoopConfig | None = None,
        config: EverythingConfig | None = None,
    ) -> None:
        self.scene = scene
        self.config = config or EverythingConfig()
        self.proposer = ObjectProposer(scene, segmenter, self.config.proposals)
        self._session = Session(scene, segmenter, loop)
        self.finished: set[str] = set()

    def run(self) -> Iterator[MasksProposed | ObjectsProposed | Event]:
        """Search the views, then run the loop of every object proposed.

        Raises:
            SA3DError: nothing was proposed.
        """
        yield from self.proposer.run()
        proposals = self.proposer.objects()
        if not proposals:
            raise SA3DError(
                "no object found that several views agree on: mark one yourself, with --view and "
                "--points, --box or --mask"
            )
        self._session.add_prompts(
            [p for i, one in enumerate(proposals) for p in self._prompts(f"object_{i + 1}", one)]
        )
        yield ObjectsProposed(len(proposals))
        for event in self._session.run():
            if isinstance(event, Finished):
                self.finished.add(event.object)
            yield event

    def result(self) -> Segmentation:
        """The objects that hold, with exclusive labels, named by falling size.

        Objects whose loop has not finished do not count, so this may be asked for at any time.

        Raises:
            SA3DError: none holds.
        """
        whole = self._session.result()
        finished = {n: one for n, one in whole.objects.items() if n in self.finished}
        good = {name: one for name, one in finished.items() if self._holds(one)}
        kept = self._without_doubles(replace(whole, objects=good)) if good else []
        if not kept:
            raise SA3DError(
                "the proposed objects fell apart, their views do not agree: mark an object "
                "yourself, with --view and --points, --box or --mask"
            )
        final = replace(whole, objects={name: whole.objects[name] for name in kept})
        renamed = {}
        for row in sorted(found_objects(final), key=lambda row: -row.size):
            name = f"object_{len(renamed) + 1}"
            renamed[name] = replace(final.objects[row.name].renamed(name), color=None)
        return replace(final, objects=renamed)

    def _prompts(self, name: str, proposal: ObjectProposal) -> list[Prompt]:
        best = proposal.masks[: self.config.proposals.prompted_views]
        return [Prompt(self.scene.views[m.view].name, name, mask=m.mask) for m in best]

    def _holds(self, one: ObjectResult) -> bool:
        seen = len(_found_in(one)) / len(self.scene.views)
        return seen >= self.config.min_seen and _agreement(one) >= self.config.min_agreement

    def _without_doubles(self, segmentation: Segmentation) -> list[str]:
        """Names, best agreement first, of objects that are not mostly within one before."""
        kept: dict[str, Tensor] = {}
        by_agreement = sorted(segmentation.objects.values(), key=_agreement, reverse=True)
        for one in by_agreement:
            mine = one.evidence.labels(segmentation.lam)
            if all(_contained(mine, other) <= self.config.max_shared for other in kept.values()):
                kept[one.name] = mine
        return list(kept)


def found_objects(segmentation: Segmentation) -> list[FoundObject]:
    """The table of a segmentation's objects, in their order."""
    labels, positions = segmentation.labels(), segmentation.elements.positions_world
    rows = []
    for label, (name, one) in enumerate(segmentation.objects.items()):
        mine = labels == label
        size = Extent.of(positions[mine]).size if mine.any() else 0.0
        views, elements = len(_found_in(one)), int(mine.sum())
        rows.append(FoundObject(name, views, size, _agreement(one), elements))
    return rows


def _found_in(one: ObjectResult) -> list[int]:
    found = ("prompted", "accepted", "held out")
    return [index for index, record in one.views.items() if record.outcome in found]


def _agreement(one: ObjectResult) -> float:
    return one.rounds[-1].agreement if one.rounds else 0.0


def _contained(one: Tensor, other: Tensor) -> float:
    """Share of the smaller of two sets of elements, bool [N], that both have."""
    smaller = torch.minimum(one.sum(), other.sum()).clamp_min(1)
    return float((one & other).sum() / smaller)
