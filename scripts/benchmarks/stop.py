"""Measure when the loop stops, and whether its own report predicts the result's quality.

Every seed draws a scene (2 to 5 solids, 12 to 20 views) and a segmenter that errs in up to 60% of
the views; the largest solid of the first photo is marked there. Two values are correlated over the
seeds: the agreement of a view with the others, which a user sees, and the mean IoU of the final
masks with the exact ones, which no user sees.

    python scripts/benchmarks/stop.py --seeds 320 --output outputs/stop
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from sa3d.base.mask_overlap import iou
from sa3d.loop.config import LoopConfig
from sa3d.testing.erring_runs import KINDS, ErringRun, erring_run

MEASURES = {
    "held_out": "every believed view without its own vote, lower quartile (in verdicts)",
    "never": "the tenth of the views that never votes, mean",
    "prompt": "the others with the user's mask",
    "voters": "accepted views with the others, mean",
}
"""Measures in the report of a run, by key; None where only the lifted view was kept."""


@dataclass
class Options:
    """Command-line options."""

    seeds: int = 320
    """Number of runs; the kinds of errors take turns."""
    first: int = 0
    """The first seed."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """Settings of the loop."""
    output: Path | None = None
    """Folder for table.md, scatter.png and numbers.json."""


def row(run: ErringRun, seed: int) -> dict[str, Any]:
    """Return a run as one line of numbers."""
    one = run.segmentation.object(run.name)
    last = one.rounds[one.kept_round - 1] if one.kept_round else None
    exact = run.scene.masks[run.name]
    wrong = {i for i, r in one.views.items() if r.mask is not None and iou(r.mask, exact[i]) < 0.75}
    named = {i for i, v in enumerate(run.scene.scene.views) if v.name in one.verdict}
    return {
        "seed": seed,
        "kind": run.kind,
        "rate": run.rate,
        "views": len(run.scene.scene.views),
        "rounds": len(one.rounds),
        "converged": one.converged,
        "kept_round": one.kept_round,
        "held_out": one.held_out_agreement,
        "never": last and last.unvoted_agreement,
        "prompt": last and last.prompt_agreement,
        "voters": last and last.agreement,
        "named": len(named),
        "named_wrong": len(named & wrong),
        "wrong": len(wrong),
        "iou": run.iou(),
    }


def correlations(rows: Sequence[dict[str, Any]], key: str) -> tuple[float, float, float]:
    """Return Pearson's, Spearman's, and Pearson's of log errors, of a measure with the true IoU.

    Most runs are good: Pearson's depends on the few bad ones, the others on all.
    """
    from scipy.stats import rankdata

    pairs = np.array([(one[key], one["iou"]) for one in rows if one[key] is not None])
    ranks = np.stack([rankdata(column) for column in pairs.T])
    log_errors = np.log(1.01 - pairs.T)
    pearson, spearman, of_logs = (
        float(np.corrcoef(values)[0, 1]) for values in (pairs.T, ranks, log_errors)
    )
    return pearson, spearman, of_logs


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return tables: how runs ended, the correlations, and both by kind of error."""
    lifted = [one["iou"] for one in rows if not one["kept_round"]]
    rounds = Counter(one["rounds"] for one in rows)
    ends = {
        "converged": sum(one["converged"] for one in rows),
        "stopped at the limit of rounds": sum(not one["converged"] for one in rows),
    }
    lines = [f"{len(rows)} runs, all of them ended: "]
    lines[0] += ", ".join(f"{count} {how}" for how, count in ends.items())
    lines[0] += "; rounds: " + ", ".join(f"{n} x {r}" for r, n in sorted(rounds.items())) + "."
    lines += ["", "| agreement of | runs | Pearson | Spearman | Pearson of log errors |"]
    lines += ["|---|---|---|---|---|"]
    for key, words in MEASURES.items():
        count = sum(one[key] is not None for one in rows)
        cells = " | ".join(f"{value:.2f}" for value in correlations(rows, key))
        lines.append(f"| {words} | {count} | {cells} |")
    lines += ["", "| held-out agreement | runs | mean IoU | worst tenth |", "|---|---|---|---|"]
    spans = {
        ("under " if not low else f"{low:g} to ") + f"{min(high, 1):g}": [
            one["iou"] for one in rows if low <= (one["held_out"] or -1) < high
        ]
        for low, high in ((0.97, 1.01), (0.94, 0.97), (0.9, 0.94), (0, 0.9))
    }
    for span, ious in {**spans, "none: the lifted view was kept": lifted}.items():
        if ious:
            worst = np.quantile(ious, 0.1)
            lines.append(f"| {span} | {len(ious)} | {np.mean(ious):.3f} | {worst:.2f} |")
    lines += ["", "| error | runs | lifted answers | mean IoU | mean held-out | Spearman |"]
    lines += ["|---|---|---|---|---|---|"]
    for kind in KINDS:
        here = [one for one in rows if one["kind"] == kind]
        if len(here) > 2:
            seen = [one["held_out"] for one in here if one["held_out"] is not None]
            lines.append(
                f"| {kind} | {len(here)} | {sum(one['kept_round'] == 0 for one in here)} | "
                f"{np.mean([one['iou'] for one in here]):.3f} | {np.mean(seen):.3f} | "
                f"{correlations(here, 'held_out')[1]:.2f} |"
            )
    named, right = (sum(one[key] for one in rows) for key in ("named", "named_wrong"))
    lines += ["", f"Views named in verdicts: {named}, {right} of them with a mask under IoU 0.75."]
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the true IoU over agreements of two kinds, a dot per run that kept its votes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8, 4.2), sharex=True, sharey=True)
    for axis, key in zip(axes, ("held_out", "never"), strict=True):
        for kind in KINDS:
            here = [
                (one[key], one["iou"])
                for one in rows
                if one["kind"] == kind and one[key] is not None
            ]
            if here:
                axis.scatter(*np.array(here).T, label=kind, alpha=0.75, s=18)
        axis.set_xlabel(MEASURES[key].split(" (")[0], fontsize=9)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("true mean IoU over views")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(options: Options) -> None:
    """Measure, print and write."""
    rows = []
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
    for seed in range(options.first, options.first + options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(row(erring_run(Path(folder), seed, options.loop), seed))
        print(f"\rrun {len(rows)}/{options.seeds}", end="", flush=True)
        if options.output:
            (options.output / "numbers.json").write_text(json.dumps(rows, indent=1))
    print()
    print(table(rows), end="")
    if options.output:
        (options.output / "table.md").write_text(table(rows))
        draw(rows, options.output / "scatter.png")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
