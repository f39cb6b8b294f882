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
from sa3d.base.sums import ordered_sum
from sa3d.detectors.protocol import Detections, TextDetector, checked_words
from sa3d.geometry.view_schedule import spread_views
from sa3d.loop.config import LoopConfig
from sa3d.objects.inverse_rendering import Evidence, Vote
from sa3d.objects.prompts import Prompt
from sa3d.scene.scene import Scene
from sa3d.search.config import WordsConfig
from sa3d.search.events import ViewSearched
from sa3d.segmenters.answer_check import ask
from sa3d.segmenters.protocol import PromptableSegmenter
from sa3d.voting.mask_rendering import agreement, render_mask

Box = tuple[float, float, float, float]

MIN_SEEN = 0.1
"""A view counts if it sees at least this share of a candidate's pixels."""

UNCHECKED = 0.5
"""Factor on the score of a candidate that no other view sees: more than for a refuted candidate,
less than for a confirmed one."""

SAME = 0.5
"""Candidates are one object if their masks in one view have an IoU above this."""


@dataclass(frozen=True)
class Found:
    """A detection in one view, with its mask.

    Attributes:
        view: index in the scene.
        box: (x0, y0, x1, y1), pixel indices, corners included.
        score: of the detector.
        mask: bool [H, W], at the size of the photo.
        own_mask: True if the mask is from the detector, False if from the segmenter.
    """

    view: int
    box: Box
    score: float
    mask: np.ndarray
    own_mask: bool

    def fits(self, points: Sequence[tuple[float, float]], labels: Sequence[int]) -> bool:
        """Return True if points on the object are in box and mask, and points beside it are not."""
        x0, y0, x1, y1 = self.box
        for (x, y), label in zip(points, labels, strict=True):
            inside = bool(self.mask[int(y), int(x)])
            if inside != bool(label) or (label and not (x0 <= x <= x1 and y0 <= y <= y1)):
                return False
        return True


@dataclass(frozen=True)
class Judgement:
    """A detection compared with the detections of the other views.

    Attributes:
        total: mean of detection score times agreement, over the views that see the object, in
            [0, 1].
        agreement: mean IoU with the detections of the other views that see the object; None if no
            other view sees the object.
        checked: number of other views that see the object.
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
    """Return detections with masks: the detector's own, or the segmenter's for the box."""
    camera = scene.views[index].camera
    if len(detections) and detections.masks is None:
        scene.encode(index, segmenter)
    found = []
    for position, edges in enumerate(detections.boxes):
        box = pixel_box(edges, camera.width, camera.height)
        if detections.masks is not None:
            mask = detections.masks[position]
        else:
            prediction = ask(segmenter, box=np.array(box, dtype=np.float32))
            mask = prediction.masks[int(prediction.scores.argmax())]
        if mask.any():
            score = float(detections.scores[position])
            found.append(Found(index, box, score, mask, detections.masks is not None))
    return found


def pixel_box(edges: np.ndarray, width: int, height: int) -> Box:
    """Convert a box of edges (0, 0, W, H is the whole image) to indices of its corner pixels."""
    left, top, right, bottom = (round(float(edge)) for edge in edges)
    x0, y0 = min(max(left, 0), width - 2), min(max(top, 0), height - 2)
    x1, y1 = min(max(right - 1, x0 + 1), width - 1), min(max(bottom - 1, y0 + 1), height - 1)
    return (float(x0), float(y0), float(x1), float(y1))


def judge(
    scene: Scene, candidate: Found, found: Mapping[int, Sequence[Found]], config: LoopConfig
) -> Judgement:
    """Lift a candidate into 3D, and compare it in every other view with the detections there.

    Args:
        scene: prepared.
        candidate: a detection in one of the views.
        found: the detections of every searched view, by view index.
        config: settings of the loop: the prior.
    """
    mine = _mask_to_rays(scene, candidate)
    evidence = Evidence.zeros(len(scene.elements), scene.device)
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
        seen = ordered_sum(rendered.known * (rendered.probability > 0.5))
        if seen < MIN_SEEN * ordered_sum(mine):
            continue
        shared = [agreement(_mask_to_rays(scene, other), rendered) for other in others]
        same += [other for other, value in zip(others, shared, strict=True) if value > SAME]
        agreements.append(max(shared, default=0.0))
        products = (other.score * value for other, value in zip(others, shared, strict=True))
        worth.append(max(products, default=0.0))
    if not agreements:
        return Judgement(UNCHECKED * candidate.score, None, 0, same)
    return Judgement(float(np.mean(worth)), float(np.mean(agreements)), len(agreements), same)


def _mask_to_rays(scene: Scene, found: Found) -> Tensor:
    return scene.prepared(found.view).mask_to_rays(found.mask).to(scene.device)


@dataclass(frozen=True)
class Candidate:
    """An object that the words may name.

    Attributes:
        view: name of the view it was detected in.
        box: (x0, y0, x1, y1), pixel indices.
        score: of the detector.
        agreement: mean IoU with the detections of the other views that see the object; None if
            there are no such views.
        checked: number of other views that see the object.
        total: the value by which candidates are ranked; see ``Judgement``.
    """

    view: str
    box: Box
    score: float
    agreement: float | None
    checked: int
    total: float


@dataclass(frozen=True)
class WordsChoice:
    """Result of a search by words: the candidates, best first, and the prompt from the first."""

    object: str
    text: str
    detector: str
    candidates: tuple[Candidate, ...]
    prompt: Prompt

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a report."""
        return {
            "object": self.object,
            "text": self.text,
            "detector": self.detector,
            "candidates": [asdict(candidate) for candidate in self.candidates],
        }


def needs_words(prompt: Prompt) -> bool:
    """Return True if a detector has to find the object of a prompt.

    If the prompt also has a box or a mask, its words are not used. If it also has points, they
    choose among the detections.
    """
    return bool(prompt.text) and prompt.box is None and prompt.mask is None


class WordSearch:
    """A search for the object that the words of one prompt name, in a prepared scene.

    Example:
        >>> search = WordSearch(scene, segmenter, detector, Prompt(None, "mug", text="red mug"))
        >>> for event in search.run():
        ...     print(event)
        >>> prompt = search.result().prompt
    """

    def __init__(
        self,
        scene: Scene,
        segmenter: PromptableSegmenter,
        detector: TextDetector,
        prompt: Prompt,
        config: WordsConfig | None = None,
        loop: LoopConfig | None = None,
    ) -> None:
        """Check the prompt, and choose the views to search.

        Args:
            prompt: with words. If it has a view, the object is prompted there.

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
        """Names of the views to search."""
        return tuple(self.scene.views[index].name for index in self._views)

    def run(self) -> Iterator[ViewSearched]:
        """Search the views one by one.

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
            yield ViewSearched(number, total, self.text, name, len(self._found[index]), best)

    def result(self) -> WordsChoice:
        """Return the choice, after ``run`` has ended.

        Raises:
            SA3DError: no detection fits the words, or none of those fits the points.
        """
        places = [self._named] if self._named is not None else self._views
        found = [one for index in places for one in self._found[index]]
        if not found:
            raise SA3DError(self._nothing_found())
        prompt = self.prompt
        fitting = [one for one in found if one.fits(prompt.points, prompt.labels)]
        if not fitting:
            scores = ", ".join(f"{one.score:.2f}" for one in found[:3])
            raise SA3DError(
                f"{self.detector.name} finds {self.text!r} in {prompt.view!r} (scores {scores}),"
                " but none of them fits the points: leave out the words or the points"
            )
        ranked = self._ranked(fitting)
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
        """Return one detection of each object, best first."""
        judged = [(one, judge(self.scene, one, self._found, self.loop)) for one in found]
        judged.sort(key=lambda pair: -pair[1].total)
        kept: list[tuple[Found, Judgement]] = []
        taken: set[int] = set()
        for one, judgement in judged:
            # Two sides of an object may share no pixel, but one view may show both.
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
        """Return the error text: the words, the searched views, and the nearest scores."""
        names = {index: self.scene.views[index].name for index in self._views}
        scores = [(score, names[i]) for i, several in self._scores.items() for score in several]
        nearest = ", ".join(f"{score:.2f} in {name}" for score, name in sorted(scores)[:-4:-1])
        elsewhere = [names[index] for index in self._views if self._found[index]]
        if elsewhere:  # only if the prompt names a view, which is the first
            return (
                f"{self.detector.name} finds no {self.text!r} in {names[self._views[0]]}, but in"
                f" {', '.join(elsewhere)} (nearest scores: {nearest}): leave out 'view', or"
                " name one of those"
            )
        return (
            f"{self.detector.name} finds no {self.text!r} in {', '.join(names.values())}; nearest"
            f" scores: {nearest or 'none'}, {self.threshold:.2f} is needed: use other words, lower"
            " 'words.threshold', raise 'words.views', or prompt with 'points' or 'box'"
        )


def check_words(scene: Scene, prompt: Prompt) -> None:
    """Check a prompt with words against a scene, which need not be prepared.

    Raises:
        SA3DError: no words, an unknown view, or points without a view or outside of it.
    """
    checked_words(prompt.text or "")
    if prompt.view:
        camera = scene.views[scene.view_index(prompt.view)].camera
        prompt.check_against(camera.width, camera.height)
    elif prompt.points:
        raise SA3DError(f"the prompt for {prompt.object!r} has points but no view: name the view")
