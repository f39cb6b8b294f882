"""The numbers of ``bench.py`` as tables of ratios."""

from __future__ import annotations

import os
import platform
from typing import Any

import torch


def markdown(command: str, numbers: dict[str, Any]) -> str:
    """All tables.

    Args:
        command: what gave the numbers.
        numbers: as ``bench.py`` writes them.
    """
    first, second, cached = numbers["first"], numbers["second_object"], numbers["cached"]
    parts = first["parts"]
    other = first["seconds"] - sum(parts.values())
    updates = numbers["updates"]
    closed = updates["closed form, vote (F and T)"]
    lines = [
        "# Benchmark",
        "",
        f"Made by `{command}`; {os.cpu_count()} cores, torch {torch.__version__}, "
        f"{platform.machine()}. All of one table is from one run.",
        "",
        "| one object, from nothing | share of the time |",
        "|---|---|",
        *(f"| {part} | {seconds / first['seconds']:.1%} |" for part, seconds in parts.items()),
        f"| everything else | {other / first['seconds']:.1%} |",
        "",
        "| run | time, first = 1 | NeRF calls |",
        "|---|---|---|",
        f"| first object, nothing cached | 1 | {first['nerf_calls']} |",
        f"| second object | {second['seconds'] / first['seconds']:.3f} | {second['nerf_calls']} |",
        f"| first object again, cached | {cached['seconds'] / first['seconds']:.3f} "
        f"| {cached['nerf_calls']} |",
        "",
        *_correction_lines(numbers["correction"]),
        *_objects_table(numbers["objects"]),
        *_further_object(numbers["objects"]["one"], first["seconds"], numbers["sam"]),
        "| one view's update | time, closed-form vote = 1 |",
        "|---|---|",
        *(f"| {name} | {seconds / closed:.1f} |" for name, seconds in updates.items()),
        "",
        "| weights below are pruned | entries per ray | mean mask error | 99th percentile |",
        "|---|---|---|---|",
        *(
            f"| {t:g} | {n:.1f} | {mean:.5f} | {high:.5f} |"
            for t, n, mean, high in numbers["pruning"]
        ),
        "",
        "| memory | | MiB |",
        "|---|---|---|",
        *(f"| {name} | {text} | {mib:.1f} |" for name, text, mib in numbers["growth"]),
        f"| peak of the whole process | | {numbers['peak_gib'] * 1024:.0f} |",
        "",
    ]
    return "\n".join(lines)


def _correction_lines(row: dict[str, float]) -> list[str]:
    view = row["nerf_view"]
    return [
        "| a correction (one click in a view not prompted before) | time, NeRF evaluation of one "
        "view = 1 | seconds here |",
        "|---|---|---|",
        f"| in all, {row['views_asked']:.0f} views asked | {row['seconds'] / view:.2f} "
        f"| {row['seconds']:.2f} |",
        f"| besides the segmenter | {row['besides_segmenter'] / view:.2f} "
        f"| {row['besides_segmenter']:.2f} |",
        "",
    ]


def _objects_table(rows: dict[str, list[dict[str, float]]]) -> list[str]:
    """Time per object and view in units of that of the first object alone."""
    lines = [
        "| objects in one pass, time per object and view, one object = 1 | in views of their own: "
        "segmenter | everything else | in the same view: segmenter | everything else |",
        "|---|---|---|---|---|",
    ]
    units = {
        kind: (of[0]["segmenter"] + of[0]["else"]) / of[0]["visits"] for kind, of in rows.items()
    }
    for own, one in zip(rows["own"], rows["one"], strict=True):
        parts = [
            row[part] / row["visits"] / units[kind]
            for kind, row in (("own", own), ("one", one))
            for part in ("segmenter", "else")
        ]
        lines.append(f"| {own['objects']} | " + " | ".join(f"{part:.3f}" for part in parts) + " |")
    return [*lines, ""]


def _further_object(rows: list[dict[str, float]], first: float, sam: dict[str, Any]) -> list[str]:
    """What one object more costs in the same view: the last row less the first."""
    alone, most = rows[0], rows[-1]
    objects = most["objects"] - alone["objects"]
    if not objects:
        return []
    segmenter, other = ((most[part] - alone[part]) / objects for part in ("segmenter", "else"))
    said = (
        f"A further object in the same view: {(segmenter + other) / first:.3f} of the first one "
        f"from nothing, {segmenter / (segmenter + other):.0%} of it the segmenter, no NeRF, no "
        "encoding."
    )
    if sam["prompt"]:
        unit = sam["prompt"] * (most["visits"] - alone["visits"]) / objects
        said += (
            f" Everything else is {other / unit:.2f} of a prompt to {sam['name']} (true size, "
            f"random weights), the embedded segmenter {segmenter / unit:.2f}."
        )
    return [said, ""]
