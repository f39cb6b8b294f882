"""Measure the cost of each segmenter: time to encode a view, time per prompt, memory, disk.

    python scripts/benchmarks/backends.py                          # writes docs/segmenters.md
    python scripts/benchmarks/backends.py --names edgetam sam3     # the other rows stay

The models have their true sizes and random weights, so nothing is downloaded, and the quality of
the masks is not measured. Each runs in a process of its own, whose peak memory is reported.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from sa3d.base.array_files import save_arrays
from sa3d.base.storage import atomic_path
from sa3d.segmenters.protocol import PromptableSegmenter
from sa3d.segmenters.registry import EMBEDDED, REGISTRY

ROOT = Path(__file__).parents[2]
PROMPTS = 5
IMAGE_HW = (720, 960)
NEEDED_GB = 3.0
"""Memory for the libraries and a view's features, beside the weights; a rough value."""

_HEAD = """# Segmenters: what they cost

Written by `python scripts/benchmarks/backends.py` on {where}: true sizes, random weights, views of
{width} x {height} pixels. *Encode* is once per view and cached on disk (*stored*, float16);
*prompt* is the median of {prompts}, from box to masks. *Memory* is the process's peak, libraries
included{gpu}. Nothing else ran meanwhile; encoding was timed once. Segmenters without a row
were not measured, nor was the quality of the masks: the weights are random.

| name | M parameters | encode, s | prompt, ms | memory, GB | stored per view, MB |
|---|---|---|---|---|---|
"""

_TAIL = """
`sa3d segmenters` lists the same names with licences, what is on your machine, and which one
`--segmenter auto` takes: the best one by the models' papers (rank in `sa3d/segmenters/registry.py`)
whose weights are there, on a CPU only those that encode a view within about six seconds. SAM 3 is
gated and only used when named.

Weights come from the hub at first use (or `hf download HUB_ID --local-dir FOLDER`, then
`--segmenter FOLDER`; a `.safetensors` file beside its `config.json` does too). With pip, EdgeTAM
also needs `pip install "timm>=1.0"`: Nerfstudio's metadata pins an old one that it never imports.

Tests with real weights:
`SA3D_SAM_WEIGHTS=FOLDER python -m pytest tests/segmenters/test_contract.py`.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the named segmenters and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--names", nargs="+", default=list(REGISTRY), choices=list(REGISTRY))
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "segmenters.md")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--limit-s", type=float, default=150, help="for each segmenter")
    parser.add_argument("--tiny", action="store_true", help="tiny models, to test this script")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        print(json.dumps(measure(options.names[0], options.device, options.tiny)))
        return
    numbers = options.output.with_suffix(".json")
    rows = json.loads(numbers.read_text()) if numbers.exists() else {}
    for name in options.names:
        rows[name] = _in_a_process(name, options.device, options.tiny, options.limit_s)
        print(_row(name, rows[name]), flush=True)
        with atomic_path(numbers) as temporary:
            temporary.write_text(json.dumps(rows, indent=1) + "\n")
    with atomic_path(options.output) as temporary:
        temporary.write_text(_document(rows, options.device))


def measure(name: str, device: str, tiny: bool) -> dict[str, Any]:
    """Return the numbers of one segmenter, measured in this process."""
    segmenter, parameters_m = _build(name, device, tiny)
    height, width = IMAGE_HW
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    image[200:500, 300:700] //= 4
    if device == "cuda":
        segmenter.set_image(image)  # the first call sets the GPU up
    encode_s = _seconds(lambda: segmenter.set_image(image))
    box = np.array([290, 190, 710, 510])
    prompt_s = median(_seconds(lambda: segmenter.predict(box=box)) for _ in range(PROMPTS))
    with tempfile.TemporaryDirectory() as folder:
        save_arrays(Path(folder) / "view.npz", segmenter.save_state())
        stored = (Path(folder) / "view.npz").stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    return {
        "parameters_m": parameters_m,
        "encode_s": encode_s,
        "prompt_ms": prompt_s * 1e3,
        "memory_gb": peak / 1e9,
        "stored_mb": stored / 1e6,
    }


def _build(name: str, device: str, tiny: bool) -> tuple[PromptableSegmenter, float]:
    """Return a segmenter with random weights, and its parameters in millions."""
    if name == EMBEDDED:
        from sa3d.segmenters.graphcut.segmenter import GraphCutSegmenter

        return GraphCutSegmenter(), 0.0
    from sa3d.segmenters.sam.loading import SEGMENTER_OF_TYPE
    from sa3d.testing.random_sam import family_of, tiny_sam, true_size_sam

    family = family_of(name)
    model, processor = tiny_sam(family) if tiny else true_size_sam(name)
    parameters_m = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    return SEGMENTER_OF_TYPE[family](model, processor, name, device), parameters_m


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _in_a_process(name: str, device: str, tiny: bool, limit_s: float) -> dict[str, Any]:
    """Return the numbers of one segmenter, or ``{"skipped": reason}``."""
    needed = REGISTRY[name].parameters_m * 4e6 / 1e9 * 2 + NEEDED_GB
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    if needed > free and not tiny:
        return {"skipped": f"needs about {needed:.0f} GB, {free:.0f} GB were free"}
    command = [sys.executable, __file__, "--worker", "--names", name, "--device", device]
    try:
        done = subprocess.run(
            [*command, *(["--tiny"] if tiny else [])],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        return {"skipped": f"took more than {limit_s:.0f} s"}
    return json.loads(done.stdout.splitlines()[-1])


def _row(name: str, row: dict[str, Any]) -> str:
    if "skipped" in row:
        return f"| {name} | {REGISTRY[name].parameters_m:g} | {row['skipped']} | | | |"
    return (
        f"| {name} | {row['parameters_m']:.1f} | {row['encode_s']:.2f} | {row['prompt_ms']:.0f}"
        f" | {row['memory_gb']:.1f} | {row['stored_mb']:.1f} |"
    )


def _document(rows: dict[str, dict[str, Any]], device: str) -> str:
    where = f"{torch.get_num_threads()} thread(s) of a CPU, float32"
    gpu = ""
    if device == "cuda":
        where = torch.cuda.get_device_name()
        gpu = "; on a GPU what tensors took there"
    head = _HEAD.format(
        where=where, width=IMAGE_HW[1], height=IMAGE_HW[0], prompts=PROMPTS, gpu=gpu
    )
    return (
        head + "\n".join(_row(name, rows[name]) for name in REGISTRY if name in rows) + "\n" + _TAIL
    )


if __name__ == "__main__":
    main()
