"""Trains tiny runs of several methods with ``ns-train``, in one process; run as a script.

Usage: train_methods.py FOLDER METHOD ... Writes FOLDER/data and FOLDER/outputs/tiny/METHOD/run.
"""

import os
import sys
from pathlib import Path

from train_tiny_run import write_alexnet, write_data

COMMON = (
    *("--data", "data", "--output-dir", "outputs", "--experiment-name", "tiny"),
    *("--timestamp", "run", "--max-num-iterations", "3", "--vis", "tensorboard"),
    *("--machine.device-type", "cpu", "--logging.profiler", "none"),
    *("--steps-per-eval-batch", "1000", "--steps-per-eval-image", "1000"),
    *("--steps-per-eval-all-images", "1000"),
    *("--pipeline.datamanager.train-num-rays-per-batch", "32"),
    *("--pipeline.datamanager.eval-num-rays-per-batch", "32"),
)
DATA = ("nerfstudio-data", "--eval-mode", "interval", "--eval-interval", "4")
_NERF = ("--pipeline.model.num-coarse-samples", "12", "--pipeline.model.num-importance-samples")
OPTIONS = {
    "vanilla-nerf": (*_NERF, "16"),
    "mipnerf": (*_NERF, "16"),
    "tensorf": (
        *("--pipeline.model.init-resolution", "8", "--pipeline.model.final-resolution", "16"),
        *("--pipeline.model.upsampling-iters", "1", "2"),
        *("--pipeline.model.num-samples", "12", "--pipeline.model.num-uniform-samples", "16"),
    ),
}
"""Of ``ns-train``, to make each method tiny. TensoRF's grids grow twice."""


def train(method: str) -> None:
    """Run ``ns-train METHOD`` in this process: importing Nerfstudio takes longer than training."""
    from nerfstudio.scripts.train import entrypoint

    sys.argv = ["ns-train", method, *COMMON, *OPTIONS[method], *DATA]
    entrypoint()


if __name__ == "__main__":
    home = Path(sys.argv[1]).resolve()
    methods = sys.argv[2:]
    home.mkdir(parents=True, exist_ok=True)
    os.chdir(home)
    os.environ["TORCH_HOME"] = str(home / "torch_home")
    write_data(home / "data")
    write_alexnet(home / "torch_home")
    for one in methods:
        train(one)
