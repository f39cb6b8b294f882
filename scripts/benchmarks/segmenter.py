"""Measure a 2D segmenter on photos with exact masks, and print a table.

    python scripts/benchmarks/segmenter.py DATA/grabcut50
    python scripts/benchmarks/segmenter.py DATA/canclip --prompts refine --output table.md

A data folder holds ``images/NAME.jpg`` and ``masks_gt/NAME.png``, or ``masks_gt/OBJECT/NAME.png``
(255 object, 128 not counted, 0 background).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import tyro

from sa3d.base.storage import atomic_path
from sa3d.evaluation.simulated_user import next_click
from sa3d.segmenters.loading import load_segmenter
from sa3d.segmenters.protocol import LOGITS_SIZE, MaskPrediction, PromptableSegmenter

SCORE_BINS = (0.0, 0.2, 0.4, 0.6, 0.8)
DAMAGES = ("blurred", "shifted", "chunk", "eroded", "all")


@dataclass(frozen=True)
class Case:
    """One object in one photo: image [H, W, 3] uint8 RGB, truth and counted [H, W] bool."""

    label: str
    image: np.ndarray
    truth: np.ndarray
    counted: np.ndarray

    def iou(self, mask: np.ndarray) -> float:
        """Return the IoU with the truth over the counted pixels."""
        a, b = mask & self.counted, self.truth & self.counted
        return float((a & b).sum() / max((a | b).sum(), 1))

    @property
    def box(self) -> np.ndarray:
        """Bounding box of the truth, [4] x0, y0, x1, y1."""
        columns, rows = np.flatnonzero(self.truth.any(0)), np.flatnonzero(self.truth.any(1))
        return np.array([columns[0], rows[0], columns[-1], rows[-1]], float)


@dataclass
class Args:
    """Command-line options.

    Attributes:
        data: folder with images and masks_gt.
        segmenter: name, hub id or local folder.
        prompts: which prompts to try.
        clicks: corrective clicks after the box, and clicks alone.
        limit: at most this many cases, 0 for all.
        output: a markdown file for the table, besides printing it.
    """

    data: tyro.conf.Positional[Path]
    segmenter: str = "graphcut"
    prompts: Literal["box", "clicks", "refine", "all"] = "all"
    clicks: int = 5
    limit: int = 0
    output: Path | None = None


@dataclass(frozen=True)
class Row:
    """One prediction: its case, IoU before, IoU of the chosen and the best candidate, CPU s."""

    case: int
    before: float
    iou: float
    best: float
    seconds: float


class Table:
    """Collects predictions by kind of prompt, and the scores of three candidates."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = defaultdict(list)
        self.triples: dict[str, list[tuple[np.ndarray, list[float]]]] = defaultdict(list)
        self.outside: list[float] = []
        self.number = 0

    def add(
        self, name: str, case: Case, found: MaskPrediction, seconds: float, before: float = 0.0
    ) -> None:
        """Add a prediction; the candidate with the highest score is the chosen one."""
        ious = [case.iou(mask) for mask in found.masks]
        chosen = ious[int(found.scores.argmax())]
        self.rows[name].append(Row(self.number, before, chosen, max(ious), seconds))
        if len(ious) == 3:
            self.triples[name].append((found.scores, ious))
            pairs = zip(found.masks, found.masks[1:], strict=False)
            self.outside += [float((a & ~b).sum() / max(a.sum(), 1)) for a, b in pairs]

    def markdown(self) -> str:
        """Return the predictions, then the scores of candidates beside their true IoU."""
        lines = [
            "| prompt | cases | before | mean IoU | even / odd cases | median | share > 0.8 | worst"
            " | best of K | CPU s |",
            "|---" * 10 + "|",
        ]
        for name, rows in self.rows.items():
            ious = np.array([row.iou for row in rows])
            odd = np.array([row.case % 2 for row in rows], bool)
            halves = [f"{ious[half].mean():.3f}" if half.any() else "-" for half in (~odd, odd)]
            before, best, spent = np.mean([(r.before, r.best, r.seconds) for r in rows], axis=0)
            lines.append(
                f"| {name} | {len(rows)} | {before:.3f} | {ious.mean():.3f} | {' / '.join(halves)}"
                f" | {np.median(ious):.3f} | {(ious > 0.8).mean():.2f} | {ious.min():.3f}"
                f" | {best:.3f} | {spent:.3f} |"
            )
        if self.triples:
            lines += self._score_lines()
        return "\n".join(lines) + "\n"

    def _score_lines(self) -> list[str]:
        from scipy.stats import spearmanr

        lines = [
            "",
            "Scores of three candidates; in the bins: mean true IoU (number of candidates).",
            "",
            "| prompt | Spearman | mean score | mean IoU | mean error | regret | "
            + " | ".join(f"score {low:.1f}-{low + 0.2:.1f}" for low in SCORE_BINS)
            + " |",
            "|---" * (6 + len(SCORE_BINS)) + "|",
        ]
        for name, triples in self.triples.items():
            scores = np.array([scores for scores, _ in triples])
            ious = np.array([ious for _, ious in triples])
            chosen = ious[np.arange(len(ious)), scores.argmax(1)]
            level = np.clip((scores * 5).astype(int), 0, 4)
            bins = [ious[level == k] for k in range(5)]
            rank = spearmanr(scores.ravel(), ious.ravel())[0] if len(triples) > 2 else np.nan
            lines.append(
                f"| {name} | {rank:.2f} | {scores.mean():.3f} | {ious.mean():.3f}"
                f" | {np.abs(scores - ious).mean():.3f} | {(ious.max(1) - chosen).mean():.3f} | "
                + " | ".join(f"{b.mean():.2f} ({len(b)})" if len(b) else "-" for b in bins)
                + " |"
            )
        share = np.mean([outside > 0 for outside in self.outside])
        lines += ["", f"Candidates not wholly inside the next larger one: {share:.1%}."]
        return lines


def cases_of(data: Path) -> Iterator[Case]:
    """Yield all objects of all photos with an exact mask, by file name."""
    for path in sorted((data / "masks_gt").rglob("*.png")):
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        image = next((data / "images").glob(path.stem + ".*"))
        bgr = cv2.imread(str(image), cv2.IMREAD_COLOR)
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        label = str(path.relative_to(data / "masks_gt"))
        yield Case(label, rgb, grey == 255, grey != 128)


def damaged_logits(truth: np.ndarray, damage: str, seed: int) -> np.ndarray:
    """Return a mask [H, W] bool as a weak 3D model would render it: logits [256, 256].

    Blur 3 % of the object's size, shift 3 %, a missing disc of radius 22 %, erosion by 3 %.
    """
    random = np.random.default_rng(seed)
    size = float(np.sqrt(truth.sum()))
    mask = truth.astype(np.float32)
    if damage in ("eroded", "all"):
        side = 2 * max(1, round(0.03 * size)) + 1
        mask = cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    if damage in ("chunk", "all"):
        edge = np.argwhere(cv2.erode(mask, np.ones((3, 3))) < mask)
        if len(edge):
            y, x = edge[random.integers(len(edge))].tolist()
            cv2.circle(mask, (x, y), round(0.22 * size), (0,), thickness=-1)
    if damage in ("shifted", "all"):
        angle = random.uniform(0, 2 * np.pi)
        dx, dy = 0.03 * size * np.cos(angle), 0.03 * size * np.sin(angle)
        move = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
        mask = cv2.warpAffine(mask, move, mask.shape[::-1])
    soft = cv2.GaussianBlur(mask, (0, 0), max(0.03 * size, 1.0))
    small = cv2.resize(soft, (LOGITS_SIZE, LOGITS_SIZE), interpolation=cv2.INTER_AREA)
    small = np.clip(small, 1e-4, 1 - 1e-4)
    return np.log(small / (1 - small)).astype(np.float32)


def mask_of(logits: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return logits [256, 256] as a mask [H, W] bool."""
    return cv2.resize(logits, shape[::-1]) > 0


def centre_of_error(case: Case, mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the pixel (x, y) deepest inside the largest error, and its true label."""
    place, label = next_click(mask, case.truth, case.counted) or ((0.0, 0.0), 0)
    return np.array(place), label


def measure_box(segmenter: PromptableSegmenter, case: Case, clicks: int, table: Table) -> None:
    """Measure a box, then clicks at the centre of the largest error with the last mask."""
    start = time.process_time()
    found = segmenter.predict(box=case.box)
    table.add("box", case, found, time.process_time() - start)
    start = time.process_time()
    three = segmenter.predict(box=case.box, multimask_output=True)
    table.add("box, multimask", case, three, time.process_time() - start)
    points, labels = [], []
    for number in range(1, clicks + 1):
        point, label = centre_of_error(case, found.masks[0])
        points, labels = [*points, point], [*labels, label]
        before = case.iou(found.masks[0])
        start = time.process_time()
        found = segmenter.predict(np.array(points), np.array(labels), case.box, found.logits[0])
        table.add(f"box, {number} clicks", case, found, time.process_time() - start, before)


def measure_clicks(segmenter: PromptableSegmenter, case: Case, clicks: int, table: Table) -> None:
    """Measure clicks alone, each at the centre of the largest error, without an earlier mask."""
    points, labels, mask = [], [], np.zeros_like(case.truth)
    for number in range(1, clicks + 1):
        point, label = centre_of_error(case, mask)
        points, labels = [*points, point], [*labels, label]
        start = time.process_time()
        found = segmenter.predict(np.array(points), np.array(labels), multimask_output=True)
        table.add(f"{number} clicks alone", case, found, time.process_time() - start)
        mask = found.masks[int(found.scores.argmax())]


def measure_refine(segmenter: PromptableSegmenter, case: Case, seed: int, table: Table) -> None:
    """Measure damaged masks as prompts, and the exact mask once and five times in turn."""
    for damage in DAMAGES:
        logits = damaged_logits(case.truth, damage, seed)
        before = case.iou(mask_of(logits, case.truth.shape))
        start = time.process_time()
        found = segmenter.predict(mask_logits=logits, multimask_output=True)
        spent = time.process_time() - start
        table.add(f"mask, {damage}", case, found, spent, before)
        if damage == "all":
            for _ in range(4):
                found = segmenter.predict(
                    mask_logits=found.logits[int(found.scores.argmax())], multimask_output=True
                )
            table.add("mask, all, 5 times", case, found, spent, before)
    logits = damaged_logits(case.truth, "exact", seed)
    for repetition in range(5):
        before = case.iou(mask_of(logits, case.truth.shape))
        start = time.process_time()
        found = segmenter.predict(mask_logits=logits)
        if repetition in (0, 4):
            name = "truth, once" if repetition == 0 else "truth, 5 times"
            table.add(name, case, found, time.process_time() - start, before)
        logits = found.logits[0]


def main(args: Args) -> None:
    """Measure, and print the table."""
    segmenter = load_segmenter(args.segmenter)
    table = Table()
    for number, case in enumerate(cases_of(args.data)):
        if args.limit and number >= args.limit:
            break
        segmenter.set_image(case.image)
        table.number = number
        if args.prompts in ("box", "all"):
            measure_box(segmenter, case, args.clicks, table)
        if args.prompts in ("clicks", "all"):
            measure_clicks(segmenter, case, args.clicks, table)
        if args.prompts in ("refine", "all"):
            measure_refine(segmenter, case, number, table)
    print(table.markdown(), end="")
    if args.output:
        with atomic_path(args.output) as path:
            path.write_text(table.markdown())


if __name__ == "__main__":
    main(tyro.cli(Args))
