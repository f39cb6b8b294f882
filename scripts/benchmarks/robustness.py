"""Measure results when the segmenter errs: our loop, SA3D's single pass, and equal votes.

In every generated scene, the largest solid of the first photo is marked there with its exact mask.
In all other views the segmenter knows the exact masks, but errs in a share of these views: in the
same way at every call, and with a high predicted IoU. Scenes and errors are drawn from seeds.

    python scripts/benchmarks/robustness.py --output outputs/robustness
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tyro

from sa3d.evaluation.baselines import EqualVotes, original_single_pass
from sa3d.evaluation.stages import mean_iou_over_views
from sa3d.loop.config import LoopConfig
from sa3d.loop.object_loop import ObjectLoop
from sa3d.loop.rounds import segment_object
from sa3d.objects.prompts import Prompt
from sa3d.objects.segmentation import Segmentation
from sa3d.results.final_masks import final_mask
from sa3d.testing.analytic_scene import AnalyticScene
from sa3d.testing.oracle_segmenter import OracleErrors, OracleSegmenter
from sa3d.testing.random_scene import largest_in_first_view, random_scene

METHODS = ("ours", "ours, whatever comes out", "single pass", "equal votes")
"""*Whatever comes out*: keeps the votes also where the views agree too little."""
KINDS = ("dilated", "leaking", "missing part", "wrong object", "empty", "any of these")
GROWTH = 0.15
"""Dilated masks grow by this share of their size, on all sides."""

Curves = dict[str, dict[str, dict[str, list[float]]]]
"""Mean IoU of every seed's scene, by kind of error, method and share of erring views."""


@dataclass
class Options:
    """Command-line options."""

    seeds: int = 10
    """Number of generated scenes: one object, and one run per kind, share and method, in each."""
    shares: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    """Shares of views in which the segmenter errs."""
    kinds: tuple[str, ...] = KINDS
    """Kinds of errors."""
    methods: tuple[str, ...] = METHODS
    """Methods to compare."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """Settings of our loop."""
    output: Path | None = None
    """Folder for table.md, curves.png and numbers.json."""


def errors_of(kind: str, share: float, seed: int) -> OracleErrors:
    """Return the segmenter's errors; *any* spreads the share evenly over the other five kinds."""
    fifth = 1 - (1 - share) ** 0.2  # five independent draws, together the share
    each = {name: fifth if kind == KINDS[-1] else share * (kind == name) for name in KINDS}
    return OracleErrors(
        empty=each["empty"],
        wrong=each["wrong object"],
        missing=each["missing part"],
        neighbour=each["leaking"],
        dilate=GROWTH,
        dilated=each["dilated"],
        seed=seed,
    )


def mean_iou(scene: AnalyticScene, method: str, errors: OracleErrors, loop: LoopConfig) -> float:
    """Return the mean IoU over views of the marked solid, segmented with one of the ``METHODS``."""
    name, views = largest_in_first_view(scene), scene.scene.views
    solids = [solid for solid in scene.masks if solid != "table"]
    segmenter = OracleSegmenter(
        {view.name: view.image() for view in views},
        {view.name: {n: scene.masks[n][i] for n in solids} for i, view in enumerate(views)},
        errors,
    )
    exact = list(scene.masks[name])
    if method == "single pass":
        values = original_single_pass(scene.scene, segmenter, 0, exact[0])
        rendered = [scene.scene.prepared(i).operator.render(values) for i in range(len(views))]
        masks = [(r > 0).reshape(exact[0].shape).numpy() for r in rendered]
        return mean_iou_over_views(masks, exact)
    kind, config = ObjectLoop, loop
    if method == METHODS[1]:
        trusting = replace(loop.convergence, min_best_agreement=0.0, min_prompt_agreement=0.0)
        config = replace(loop, convergence=trusting)
    elif method == METHODS[3]:
        kind, config = EqualVotes, EqualVotes.config()
    run = kind(scene.scene, segmenter, name, [Prompt(views[0].name, name, mask=exact[0])], config)
    for _ in segment_object(run):
        pass
    result = Segmentation(
        scene.scene.key,
        scene.scene.elements,
        {name: run.result()},
        config.prior,
        config.prior_weight,
    )
    masks = [final_mask(scene.scene, result, name, i)[0] for i in range(len(views))]
    return mean_iou_over_views(masks, exact)


def measure(options: Options) -> Curves:
    """Run all scenes, errors and methods."""
    curves: Curves = {
        kind: {m: {f"{share:g}": [] for share in options.shares} for m in options.methods}
        for kind in options.kinds
    }
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            scene = random_scene(Path(folder), seed)
            done: dict[tuple[str, object], float] = {}
            for kind in options.kinds:
                for share in options.shares:
                    errors = errors_of(kind, share, seed)
                    for method in options.methods:
                        run = (method, share and errors)  # without errors all kinds are one
                        if run not in done:
                            done[run] = mean_iou(scene, method, errors, options.loop)
                        curves[kind][method][f"{share:g}"].append(done[run])
        print(f"\rscene {seed + 1}/{options.seeds}", end="", flush=True)
    print()
    return curves


def table(curves: Curves) -> str:
    """Return the mean over seeds, with the tenth percentile in brackets, as a table."""
    shares = list(next(iter(next(iter(curves.values())).values())))
    lines = ["| error | method | " + " | ".join(f"{float(s):.0%}" for s in shares) + " |"]
    lines.append("|---" * (2 + len(shares)) + "|")
    for kind, by_method in curves.items():
        for method, by_share in by_method.items():
            cells = [f"{np.mean(v):.3f} ({np.quantile(v, 0.1):.2f})" for v in by_share.values()]
            lines.append(f"| {kind} | {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(curves: Curves, path: Path) -> None:
    """Draw a panel per kind of error: mean over scenes, the middle half shaded."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(3.6 * columns, 2.9 * rows), sharex=True, sharey=True, squeeze=False
    )
    for axis, (kind, by_method) in zip(axes.flat, curves.items(), strict=False):
        for method, by_share in by_method.items():
            x = [100 * float(share) for share in by_share]
            values = np.array(list(by_share.values()))
            style = "--" if method == METHODS[1] else "-"  # mostly the same as ours
            axis.plot(x, values.mean(axis=1), style, marker="o", markersize=3, label=method)
            low, high = np.quantile(values, (0.25, 0.75), axis=1)
            axis.fill_between(x, low, high, alpha=0.15)
        axis.set_title(kind)
        axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("views in which the segmenter errs, %")
    for axis in axes[:, 0]:
        axis.set_ylabel("mean IoU over views")
    axes[0, 0].legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(options: Options) -> None:
    """Measure, print and write."""
    curves = measure(options)
    print(table(curves), end="")
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "table.md").write_text(table(curves))
        (options.output / "numbers.json").write_text(json.dumps(curves))
        draw(curves, options.output / "curves.png")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
