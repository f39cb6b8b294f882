"""Turn words into an ordinary prompt: detect in a few views, compare the detections in 3D."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sa3d.base.errors import SA3DError
from sa3d.base.mask_overlap import iou
from sa3d.detectors.protocol import Detections, TextDetector, checked_words
from sa3d.geometry.view_schedule import spread_views
from sa3d.loop.config import LoopConfig
from sa3d.objects.inverse_rendering import Evidence, Vote
from sa3d.objects.prompts import Prompt
from sa3d.scene.scene import Scene
from sa3d.search.config import WordsConfig
from sa3d.search.events import LookedAt
from sa3d.segmenters.protocol import PromptableSegmenter
from sa3d.voting.mask_rendering import agreement, render_mask

Box = tuple[float, float, float, float]

MIN_SEEN = 0.1
"""A view counts if it sees this share of a candidate's pixels, or more."""

UNCHECKED = 0.5
"""What a candidate that no other view sees is worth: more than a refuted one, less than a
confirmed one."""

SAME = 0.5
"""Candidates whose masks overlap by more than this IoU, seen from one view, are one object."""


@dataclass(frozen=True)
class Found:
    """A detection of one view, with its mask.

    Attributes:
        view: index in the scene.
        box: x0, y0, x1, y1, pixel indices, corners included.
        score: the detector's.
        mask: [H, W] bool at the photo's size.
        own_mask: whether the mask is the detector's.
    """

    view: int
    box: Box
    score: float
    mask: np.ndarray
    own_mask: bool

    def obeys(self, points: Sequence[tuple[float, float]], labels: Sequence[int]) -> bool:
        """Whether all points on the object lie in box and mask, and none beside it in the mask."""
        x0, y0, x1, y1 = self.box
        for (x, y), label in zip(points, labels, strict=True):
            inside = bool(self.mask[int(y), int(x)])
            if inside != bool(label) or (label and not (x0 <= x <= x1 and y0 <= y <= y1)):
                return False
        return True


@dataclass(frozen=True)
class Judgement:
    """What the other views say of a detection.

    Attributes:
        total: in [0, 1]: the mean, over the views that see it, of detection score times agreement.
        agreement: mean IoU, over the other views that see it, with what they find; None if no
            other view sees it.
        checked: how many other views see it.
        same: the detections that show the same object.
    """

    total: float
    agreement: float | None
    checked: int
    same: Sequence[Found]


def find_in_view(
    scene: Scene,
    index: int,
    segmenter: PromptableSegmenter,
    detections: Detections,
) -> list[Found]:
    """Detections with masks: the detector's own, or the segmenter's for the box."""
    camera = scene.views[index].camera
    if len(detections) and detections.masks is None:
        scene.encode(index, segmenter)
    found = []
    for position, edges in enumerate(detections.boxes):
        box = pixel_box(edges, camera.width, camera.height)
        if detections.masks is not None:
            mask = detections.masks[position]
        else:
            prediction = segmenter.predict(box=np.array(box, dtype=np.float32))
            mask = prediction.masks[int(prediction.scores.argmax())]
        if mask.any():
            score = float(detections.scores[position])
            found.append(Found(index, box, score, mask, detections.masks is not None))
    return found


def pixel_box(edges: np.ndarray, width: int, height: int) -> Box:
    """A box of edges (the whole image is 0, 0, W, H) as indices of its corner pixels."""
    left, top, right, bottom = (round(float(edge)) for edge in edges)
    x0, y0 = min(max(left, 0), width - 2), min(max(top, 0), height - 2)
    x1, y1 = min(max(right - 1, x0 + 1), width - 1), min(max(bottom - 1, y0 + 1), height - 1)
    return (float(x0), float(y0), float(x1), float(y1))


def judge(
    scene: Scene, candidate: Found, found: Mapping[int, Sequence[Found]], config: LoopConfig
) -> Judgement:
    """Lift a candidate into 3D, and compare it in every other view with what was found there.

    Args:
        found: what was found, for every view looked at.
    """
    mine = _at_rays(scene, candidate)
    evidence = Evidence.none(len(scene.elements), scene.device)
    operator = scene.prepared(candidate.view).operator
    evidence.add(operator, Vote(mine, torch.ones_like(mine)))
    worth, agreements = [candidate.score], []
    same = [f for f in found[candidate.view] if iou(f.mask, candidate.mask) > SAME]
    for index, others in found.items():
        if index == candidate.view:
            continue
        rendered = render_mask(
            scene.prepared(index).operator,
            evidence,
            prior=config.prior,
            prior_weight=config.prior_weight,
        )
        seen = (rendered.known * (rendered.probability > 0.5)).sum()
        if float(seen) < MIN_SEEN * float(mine.sum()):
            continue
        shared = [agreement(_at_rays(scene, other), rendered) for other in others]
        same += [other for other, value in zip(others, shared, strict=True) if value > SAME]
        agreements.append(max(shared, default=0.0))
        products = (other.score * value for other, value in zip(others, shared, strict=True))
        worth.append(max(products, default=0.0))
    if not agreements:
        return Judgement(UNCHECKED * candidate.score, None, 0, same)
    return Judgement(float(np.mean(worth)), float(np.mean(agreements)), len(agreements), same)


def _at_rays(scene: Scene, found: Found) -> Tensor:
    return scene.prepared(found.view).mask_to_rays(found.mask).to(scene.device)


@dataclass(frozen=True)
class Candidate:
    """An object that may be meant.

    Attributes:
        view: where it was detected.
        box: x0, y0, x1, y1, pixel indices.
        score: the detector's.
        agreement: mean IoU with the detections of the other views that see it; None if none does.
        checked: how many other views see it.
        total: what it was chosen by; see ``Judgement``.
    """

    view: str
    box: Box
    score: float
    agreement: float | None
    checked: int
    total: float


@dataclass(frozen=True)
class WordsChoice:
    """What became of words: the candidates, best first, and the prompt made of the first."""

    object: str
    text: str
    detector: str
    candidates: tuple[Candidate, ...]
    prompt: Prompt

    def to_json(self) -> dict[str, Any]:
        """As reports hold it."""
        return {
            "object": self.object,
            "text": self.text,
            "detector": self.detector,
            "candidates": [asdict(candidate) for candidate in self.candidates],
        }


def needs_words(prompt: Prompt) -> bool:
    """Whether a detector has to find what the prompt names.

    Beside a box or a mask words are a note. Beside points they are not: the points then choose
    among what is detected.
    """
    return bool(prompt.text) and prompt.box is None and prompt.mask is None


class WordSearch:
    """Finds the object that one prompt names, in a prepared scene."""

    def __init__(
        self,
        scene: Scene,
        segmenter: PromptableSegmenter,
        detector: TextDetector,
        prompt: Prompt,
        config: WordsConfig | None = None,
        loop: LoopConfig | None = None,
    ) -> None:
        """Nothing is searched yet.

        Args:
            prompt: with words; its view, if it names one, becomes the prompted one.

        Raises:
            SA3DError: no words, an unknown view, or points without a view or outside of it.
        """
        self.scene, self.segmenter, self.detector = scene, segmenter, detector
        self.prompt, self.config, self.loop = prompt, config or WordsConfig(), loop or LoopConfig()
        check_words(scene, prompt)
        self.text = checked_words(prompt.text or "")
        threshold = self.config.threshold
        self.threshold = detector.threshold if threshold is None else threshold
        self._named = scene.view_index(prompt.view) if prompt.view else None
        cameras = [view.camera for view in scene.views]
        start = [] if self._named is None else [self._named]
        self._views = spread_views(cameras, max(self.config.views, 1), start)
        self._found: dict[int, list[Found]] = {}
        self._scores: dict[int, list[float]] = {}

    @property
    def views(self) -> tuple[str, ...]:
        """The views that are searched."""
        return tuple(self.scene.views[index].name for index in self._views)

    def run(self) -> Iterator[LookedAt]:
        """Search view after view.

        Raises:
            SA3DError: see ``TextDetector.detect``.
        """
        for number, index in enumerate(self._views):
            detections = self.detector.detect(self.scene.views[index].image(), self.text)
            counted = np.flatnonzero(detections.scores >= self.threshold)[: self.config.most]
            self._scores[index] = [float(score) for score in detections.scores]
            self._found[index] = find_in_view(
                self.scene, index, self.segmenter, detections.select(counted)
            )
            best = max(self._scores[index], default=0.0)
            name, total = self.scene.views[index].name, len(self._views)
            yield LookedAt(number, total, self.text, name, len(self._found[index]), best)

    def result(self) -> WordsChoice:
        """The choice, once ``run`` has come to its end.

        Raises:
            SA3DError: nothing fits the words, or nothing that does lies at the points.
        """
        places = [self._named] if self._named is not None else self._views
        found = [one for index in places for one in self._found[index]]
        if not found:
            raise SA3DError(self._nothing_found())
        prompt = self.prompt
        obeying = [one for one in found if one.obeys(prompt.points, prompt.labels)]
        if not obeying:
            scores = ", ".join(f"{one.score:.2f}" for one in found[:3])
            raise SA3DError(
                f"{self.detector.name} finds {self.text!r} in {prompt.view!r} (scores {scores}),"
                " but nothing that the points fit: leave out the words or the points"
            )
        ranked = self._ranked(obeying)
        best = ranked[0][0]
        chosen = replace(
            prompt,
            view=self.scene.views[best.view].name,
            box=best.box,
            mask=best.mask if best.own_mask else None,
        )
        candidates = tuple(self._candidate(*one) for one in ranked)
        return WordsChoice(prompt.object, self.text, self.detector.name, candidates, chosen)

    def _ranked(self, found: list[Found]) -> list[tuple[Found, Judgement]]:
        """One detection of each object, best first."""
        judged = [(one, judge(self.scene, one, self._found, self.loop)) for one in found]
        judged.sort(key=lambda pair: -pair[1].total)
        kept: list[tuple[Found, Judgement]] = []
        taken: set[int] = set()
        for one, judgement in judged:
            # Two sides of an object may share no pixel, but what a view between them finds.
            mine = {id(one), *(id(other) for other in judgement.same)}
            if not mine & taken:
                kept.append((one, judgement))
            taken |= mine
        return kept

    def _candidate(self, found: Found, judgement: Judgement) -> Candidate:
        return Candidate(
            view=self.scene.views[found.view].name,
            box=found.box,
            score=found.score,
            agreement=judgement.agreement,
            checked=judgement.checked,
            total=judgement.total,
        )

    def _nothing_found(self) -> str:
        """What was looked for and where, and how near the nearest scores came."""
        names = {index: self.scene.views[index].name for index in self._views}
        scores = [(score, names[i]) for i, several in self._scores.items() for score in several]
        nearest = ", ".join(f"{score:.2f} in {name}" for score, name in sorted(scores)[:-4:-1])
        elsewhere = [names[index] for index in self._views if self._found[index]]
        if elsewhere:  # only with a named view, which is the first
            return (
                f"{self.detector.name} finds no {self.text!r} in {names[self._views[0]]}, but in"
                f" {', '.join(elsewhere)} (nearest scores: {nearest}): leave out --view, or name"
                " one of those"
            )
        return (
            f"{self.detector.name} finds no {self.text!r} in {', '.join(names.values())}; nearest"
            f" scores: {nearest or 'none'}, {self.threshold:.2f} is needed: use other words, lower"
            " --words.threshold, search more --words.views, or mark the object with --points or"
            " --box"
        )


def check_words(scene: Scene, prompt: Prompt) -> None:
    """Check a prompt with words against a scene; nothing has to be prepared.

    Raises:
        SA3DError: no words, an unknown view, or points without a view or outside of it.
    """
    checked_words(prompt.text or "")
    if prompt.view:
        camera = scene.views[scene.view_index(prompt.view)].camera
        prompt.check_against(camera.width, camera.height)
    elif prompt.points:
        raise SA3DError(f"prompt for {prompt.object!r} has points: say in which view they are")
