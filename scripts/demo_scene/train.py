"""Train the demo scenes with stock nerfacto on a CPU, slim the runs, and measure them.

    python -m scripts.demo_scene.train --variants room garden

runs, inside the folder of the scenes so that the config holds relative paths only,

    ns-train nerfacto --data <variant> --output-dir . --experiment-name <variant> --timestamp run
        <TRAINER_ARGUMENTS> <variant's ARGUMENTS> nerfstudio-data --downscale-factor 1 ...

and then turns `<variant>/nerfacto/run` into `<variant>/run`:

    config.yml, dataparser_transforms.json     as trained
    nerfstudio_models/step-XXXXXXXXX.ckpt      without optimizer states and LPIPS weights,
                                               hash tables in half precision
    psnr.json                                  of the slimmed checkpoint on the test views

`room` is trained boxed: no contraction, with the whole room inside the scene box [-1, 1]^3.
`garden` uses nerfacto's default contraction.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
import yaml
from PIL import Image

SCENES = Path(__file__).parents[2] / "nerfstudio_plugin" / "demo_scenes"
STEPS = 4000
TRAINER_ARGUMENTS = shlex.split("""
--machine.device-type cpu --mixed-precision False --vis tensorboard
--steps-per-save 1000
--steps-per-eval-batch 1000000 --steps-per-eval-image 1000000 --steps-per-eval-all-images 1000000
--optimizers.fields.scheduler.lr-final 0.0003
--optimizers.proposal-networks.scheduler.lr-final 0.0003
--pipeline.datamanager.train-num-rays-per-batch 1024
--pipeline.model.implementation torch
--pipeline.model.num-levels 7 --pipeline.model.log2-hashmap-size 17
--pipeline.model.hidden-dim 32 --pipeline.model.hidden-dim-color 32
--pipeline.model.num-nerf-samples-per-ray 24
--pipeline.model.num-proposal-iterations 1 --pipeline.model.num-proposal-samples-per-ray 80
--pipeline.model.proposal-net-args-list.0.num-levels 4
--pipeline.model.proposal-net-args-list.0.log2-hashmap-size 15
--pipeline.model.proposal-warmup 500
--pipeline.model.camera-optimizer.mode off
--pipeline.model.use-appearance-embedding False
""")
MODEL_ARGUMENTS = {
    "room": shlex.split("""
        --pipeline.model.disable-scene-contraction True
        --pipeline.model.far-plane 2.4 --pipeline.model.max-res 1024
    """),
    "garden": ["--pipeline.model.max-res", "2048"],
}
DATAPARSER_ARGUMENTS = {"room": ["--scale-factor", "0.75"], "garden": []}


@dataclass
class Options:
    """Command-line options."""

    variants: tuple[str, ...] = tuple(MODEL_ARGUMENTS)
    """Scenes to train: room, garden."""
    scenes: Path = SCENES
    """Folder that holds the scenes (see scripts.demo_scene.make)."""
    steps: int = STEPS
    """Training steps of 1,024 rays."""


def random_lpips_weights(torch_home: Path) -> None:
    """Write random AlexNet weights where LPIPS reads them, so that it downloads none.

    Nerfacto builds LPIPS as an evaluation metric; neither training nor PSNR uses it.
    """
    from torchvision.models import alexnet

    folder = torch_home / "hub" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(alexnet(weights=None).state_dict(), folder / "alexnet-owt-7be5be79.pth")
    os.environ["TORCH_HOME"] = str(torch_home)


def train(variant: str, scenes: Path, steps: int) -> Path:
    """Run ns-train; return the folder of the run."""
    schedule = [
        f"--optimizers.{group}.scheduler.max-steps" for group in ("fields", "proposal-networks")
    ]
    command = [
        sys.executable, "-m", "nerfstudio.scripts.train", "nerfacto", "--data", variant,
        "--output-dir", ".", "--experiment-name", variant, "--timestamp", "run",
        "--max-num-iterations", str(steps), schedule[0], str(steps), schedule[1], str(steps),
        *TRAINER_ARGUMENTS, *MODEL_ARGUMENTS[variant],
        "nerfstudio-data", "--downscale-factor", "1", *DATAPARSER_ARGUMENTS[variant],
    ]  # fmt: skip
    subprocess.run(command, cwd=scenes, check=True)
    return scenes / variant / "nerfacto" / "run"


def slim(run: Path, target: Path) -> Path:
    """Copy the files that are needed to open a run; return the path of the small checkpoint."""
    shutil.rmtree(target, ignore_errors=True)
    (target / "nerfstudio_models").mkdir(parents=True)
    for name in ("config.yml", "dataparser_transforms.json"):
        shutil.copy(run / name, target / name)
    source = max((run / "nerfstudio_models").glob("step-*.ckpt"))
    loaded = torch.load(source, map_location="cpu", weights_only=False)
    pipeline = {
        key: value.half() if key.endswith("hash_table") else value.clone()
        for key, value in loaded["pipeline"].items()
        if ".lpips." not in key
    }
    small = {
        "step": int(loaded["step"]), "pipeline": pipeline,
        "optimizers": {}, "schedulers": {}, "scalers": {},
    }  # fmt: skip
    torch.save(small, target / "nerfstudio_models" / source.name)
    return target / "nerfstudio_models" / source.name


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB of values in [0, 1]."""
    return float(-10.0 * np.log10(np.mean((a - b) ** 2)))


@torch.no_grad()
def evaluate(scenes: Path, variant: str, checkpoint: Path) -> dict[str, Any]:
    """Render the test views and compare them with their photos.

    `psnr` covers whole images, `psnr_objects` only pixels that show an object.
    """
    config = yaml.load((checkpoint.parents[1] / "config.yml").read_text(), Loader=yaml.Loader)
    config.pipeline.datamanager.dataparser.data = scenes / variant
    parser = config.pipeline.datamanager.dataparser.setup()
    test = parser.get_dataparser_outputs("test")
    train_count = len(parser.get_dataparser_outputs("train").image_filenames)
    model = config.pipeline.model.setup(scene_box=test.scene_box, num_train_data=train_count)
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)["pipeline"]
    state = {k.removeprefix("_model."): v for k, v in saved.items() if k.startswith("_model.")}
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or any(not key.startswith("lpips.") for key in missing):
        raise RuntimeError(f"checkpoint does not fit: {missing=} {unexpected=}")
    model.eval()
    rows = []
    for index, path in enumerate(test.image_filenames):
        outputs = model.get_outputs_for_camera(test.cameras[index : index + 1])
        image = np.asarray(Image.open(path), dtype=np.float64) / 255.0
        render = outputs["rgb"].double().numpy()
        masks = (scenes / variant / "masks_gt").glob(f"*/{path.stem}.png")
        shown = np.any([np.asarray(Image.open(mask)) > 0 for mask in masks], axis=0)
        rows.append(
            {
                "view": path.name,
                "psnr": psnr(render, image),
                "psnr_objects": psnr(render[shown], image[shown]),
            }
        )
        print(rows[-1])
    means = {
        f"mean_{key}": float(np.mean([row[key] for row in rows]))
        for key in ("psnr", "psnr_objects")
    }
    return {**means, "views": rows}


def main(options: Options) -> None:
    """Train, slim and evaluate the chosen variants."""
    with tempfile.TemporaryDirectory() as torch_home:
        random_lpips_weights(Path(torch_home))
        for variant in options.variants:
            run = train(variant, options.scenes, options.steps)
            checkpoint = slim(run, options.scenes / variant / "run")
            result = evaluate(options.scenes, variant, checkpoint)
            (options.scenes / variant / "run" / "psnr.json").write_text(
                json.dumps(result, indent=1) + "\n"
            )
            shutil.rmtree(run.parent)
            print(f"{variant}: {result['mean_psnr']:.2f} dB on the test views")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
