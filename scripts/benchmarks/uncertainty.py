"""Fit the two constants of sa3d/results/calibration.py on generated scenes; check them on others.

Truth of an element: whether exact masks, voting in every view, say object. Elements count by the
light that those views get from them, and only near the object: in the box around the elements
labelled object, grown by half its size. Probabilities are sorted into 15 bins; the expected
calibration error is the mean gap between a bin's probability and its share of true elements.

    python scripts/benchmarks/uncertainty.py --output outputs/uncertainty \
        --check outputs/demo/room/segmentation=nerfstudio_plugin/demo_scenes/room/masks_gt
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from scene import load_masks

import sa3d
from nerfstudio_plugin.api.open_scene import OpenScene
from sa3d.evaluation.reliability import Reliability, reliability
from sa3d.evaluation.stages import upper_bound
from sa3d.objects.inverse_rendering import Evidence
from sa3d.objects.segmentation import Segmentation
from sa3d.report.images import doubt_image
from sa3d.results.calibration import FITTED, Calibration
from sa3d.results.final_masks import final_mask
from sa3d.results.next_view import next_views
from sa3d.results.rendering import tinted
from sa3d.scene.scene import Scene
from sa3d.testing.erring_runs import erring_run
from sa3d.voting.extent import Extent

FIRST = 5000
"""First seed of the runs that are fitted. Those that are checked follow."""


@dataclass
class Options:
    """Command-line options."""

    seeds: int = 40
    """Generated runs to fit, and half as many more to check."""
    check: tuple[str, ...] = ()
    """FOLDER=MASKS: a saved segmentation and its exact masks, a folder of PNGs named by image stem,
    or one such folder per object."""
    refit: bool = True
    """Fit anew; otherwise check the constants as they are."""
    output: Path | None = None
    """Folder for table.md, reliability.png and, of the first one to check, doubt.jpg."""


@dataclass(frozen=True)
class Judged:
    """Elements near objects: evidence, the evidence share, truth (bool) and light, [n] each."""

    evidence: Evidence
    share: torch.Tensor
    truth: torch.Tensor
    light: torch.Tensor

    @classmethod
    def joined(cls, parts: Sequence[Judged]) -> Judged:
        """Join all of them; each part's light adds up to 1."""
        evidence = Evidence(
            torch.cat([p.evidence.object for p in parts]),
            torch.cat([p.evidence.total for p in parts]),
        )
        share = torch.cat([p.share for p in parts])
        truth = torch.cat([p.truth for p in parts])
        return cls(evidence, share, truth, torch.cat([p.light / p.light.sum() for p in parts]))


def judge(
    scene: Scene, segmentation: Segmentation, name: str, exact: Sequence[np.ndarray]
) -> Judged:
    """Return an object's elements and those around it."""
    right = upper_bound(scene, {name: exact}).object(name).evidence
    evidence, positions = segmentation.object(name).evidence, scene.elements.positions_world
    labelled = positions[evidence.labels(segmentation.lam)]
    middle = labelled[torch.randperm(len(labelled), generator=torch.Generator().manual_seed(0))]
    extent = Extent.of(middle[:100_000])  # torch's quantiles take no more than 16 million
    near = extent.grown(0.5 * extent.size).contains(positions) & (right.total > 0)
    return Judged(
        Evidence(evidence.object[near], evidence.total[near]),
        segmentation.probability(name)[near],
        right.labels()[near],
        right.total[near],
    )


def generated(first: int, count: int) -> Judged:
    """Judge runs on generated scenes with a segmenter that errs."""
    parts = []
    for seed in range(first, first + count):
        with tempfile.TemporaryDirectory() as folder:
            run = erring_run(Path(folder), seed)
            exact = list(run.scene.masks[run.name])
            parts.append(judge(run.scene.scene, run.segmentation, run.name, exact))
        print(f"\rgenerated runs {len(parts)}/{count}", end="", flush=True)
    print()
    return Judged.joined(parts)


def saved(folder: Path, masks: Path) -> Judged:
    """Judge a saved segmentation with exact masks for every view."""
    opened = _prepared(folder)
    parts = []
    for name in opened.segmentation.objects:
        here = masks / name if (masks / name).is_dir() else masks
        exact = load_masks(here, opened.scene)
        in_order = [exact[index] for index in range(len(opened.scene.views))]
        parts.append(judge(opened.scene, opened.segmentation, name, in_order))
    return Judged.joined(parts)


def _prepared(folder: Path) -> OpenScene:
    opened = sa3d.load(folder)
    for _ in opened.scene.prepare():
        pass
    return opened


def fitted(data: Judged) -> Calibration:
    """Return the constants with the greatest likelihood."""
    from scipy.optimize import minimize

    truth = data.truth.to(data.light)

    def loss(values: np.ndarray) -> float:
        guess = Calibration(float(np.exp(values[0])), float(values[1]))
        p = guess.probability(data.evidence).clamp(1e-6, 1 - 1e-6)
        likelihood = truth * p.log() + (1 - truth) * (1 - p).log()
        return -float((data.light * likelihood).sum() / data.light.sum())

    best = minimize(loss, [np.log(0.05), 1.0], method="Nelder-Mead").x
    return Calibration(float(np.exp(best[0])), float(best[1]))


def curves(data: Judged, calibration: Calibration) -> tuple[Reliability, Reliability]:
    """Return the reliability of the evidence share and of the calibrated probability."""
    probability = calibration.probability(data.evidence)
    return (
        reliability(data.share, data.truth, data.light),
        reliability(probability, data.truth, data.light),
    )


def table(all_curves: Mapping[str, tuple[Reliability, Reliability]]) -> str:
    """Return the expected calibration error before and after, as a table."""
    lines = ["| scene | evidence share | calibrated | share, doubtful | calibrated, doubtful |"]
    lines.append("|---|---|---|---|---|")
    for name, (share, probability) in all_curves.items():
        values = (share.error, probability.error, share.doubtful_error, probability.doubtful_error)
        lines.append(f"| {name} | " + " | ".join(f"{value:.4f}" for value in values) + " |")
    return "\n".join(lines) + "\n"


def draw(all_curves: Mapping[str, tuple[Reliability, Reliability]], path: Path) -> None:
    """Draw reliability diagrams: share of true elements over the probability."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    width = 2.9 * len(all_curves)
    figure, axes = pyplot.subplots(1, len(all_curves), figsize=(width, 3.1), squeeze=False)
    for axis, (name, pair) in zip(axes[0], all_curves.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for curve, label in zip(pair, ("evidence share", "calibrated"), strict=True):
            text = f"{label}, error {curve.error:.3f}"
            axis.plot(curve.predicted, curve.observed, marker="o", markersize=3, label=text)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("likelihood")
        axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("true")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def draw_doubt(folder: Path, path: Path, count: int = 4) -> None:
    """Draw the views of a saved segmentation in which clicks help most, one for each object.

    The mask is above, the doubt below, as in ``sa3d report``.
    """
    from PIL import Image

    opened = _prepared(folder)
    scene, segmentation = opened.scene, opened.segmentation
    ranked = [(one, n) for n in segmentation.objects for one in next_views(scene, segmentation, n)]
    best: dict[int, str] = {}
    for one, name in sorted(ranked, key=lambda pair: -pair[0].score):
        if name not in best.values() and len(best) < count:
            best.setdefault(one.index, name)
    columns = []
    for index, name in best.items():
        mask, _ = final_mask(scene, segmentation, name, index)
        shown = tinted(scene.views[index].image(), mask, segmentation.colors[name])
        columns.append(np.concatenate([shown, doubt_image(scene, segmentation, name, index)]))
    Image.fromarray(np.concatenate(columns, axis=1)).save(path, quality=85)


def main(options: Options) -> None:
    """Fit and check; print and write the results."""
    calibration, found = FITTED, {}
    if options.refit:
        data = generated(FIRST, options.seeds)
        calibration = fitted(data)
        found["generated, fitted"] = curves(data, calibration)
        print(calibration)
    others = generated(FIRST + options.seeds, max(1, options.seeds // 2))
    found["generated, others"] = curves(others, calibration)
    for entry in options.check:
        folder, masks = entry.split("=", 1)
        found[Path(masks).parent.name] = curves(saved(Path(folder), Path(masks)), calibration)
    print(table(found), end="")
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "table.md").write_text(f"{calibration}\n\n{table(found)}")
        draw(found, options.output / "reliability.png")
        for entry in options.check[:1]:
            draw_doubt(Path(entry.split("=", 1)[0]), options.output / "doubt.jpg")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
