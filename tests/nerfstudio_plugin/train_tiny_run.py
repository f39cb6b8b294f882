"""Trains a tiny nerfacto run with Nerfstudio's own trainer; run as a script by the fixtures.

Usage: train_tiny_run.py FOLDER. Writes FOLDER/data and FOLDER/outputs/tiny/nerfacto/run.
"""

import json
import math
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT, IMAGES = 32, 24, 8
DISTORTION = {"k1": 0.05, "k2": -0.02, "p1": 0.001, "p2": -0.002}


def write_data(data: Path) -> None:
    """A ring of cameras around the origin, looking inwards at noise."""
    (data / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    frames = []
    for number in range(IMAGES):
        angle = 2 * math.pi * number / IMAGES
        sine, cosine = math.sin(angle), math.cos(angle)
        pose = [
            [-sine, 0.0, cosine, 3 * cosine],
            [cosine, 0.0, sine, 3 * sine],
            [0.0, 1.0, 0.0, 0.1 * number],
            [0.0, 0.0, 0.0, 1.0],
        ]
        name = f"images/frame_{number:03d}.png"
        pixels = random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(data / name)
        frames.append({"file_path": name, "transform_matrix": pose})
    meta = {
        "camera_model": "OPENCV",
        "fl_x": 30.0,
        "fl_y": 31.0,
        "cx": 15.5,
        "cy": 12.5,
        "w": WIDTH,
        "h": HEIGHT,
        **DISTORTION,
        "frames": frames,
    }
    (data / "transforms.json").write_text(json.dumps(meta))


def write_alexnet(torch_home: Path) -> None:
    """Stand-in weights, so that nerfacto's LPIPS finds AlexNet where there is no network."""
    import torch
    from torchvision.models import alexnet

    target = torch_home / "hub/checkpoints/alexnet-owt-7be5be79.pth"
    target.parent.mkdir(parents=True)
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in alexnet().state_dict().items()}
    torch.save({key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}, target)


def train(folder: Path) -> None:
    from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
    from nerfstudio.configs.base_config import LoggingConfig, MachineConfig
    from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManagerConfig
    from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
    from nerfstudio.engine.optimizers import AdamOptimizerConfig
    from nerfstudio.engine.trainer import TrainerConfig
    from nerfstudio.models.nerfacto import NerfactoModelConfig
    from nerfstudio.pipelines.base_pipeline import VanillaPipelineConfig

    groups = ("proposal_networks", "fields", "camera_opt")
    config = TrainerConfig(
        method_name="nerfacto",
        experiment_name="tiny",
        timestamp="run",
        output_dir=Path("outputs"),
        data=Path("data"),
        max_num_iterations=3,
        vis="tensorboard",
        machine=MachineConfig(device_type="cpu"),
        logging=LoggingConfig(profiler="none"),
        steps_per_eval_batch=1000,
        steps_per_eval_image=1000,
        steps_per_eval_all_images=1000,
        pipeline=VanillaPipelineConfig(
            datamanager=VanillaDataManagerConfig(
                data=Path("data"),
                dataparser=NerfstudioDataParserConfig(eval_mode="interval", eval_interval=4),
                train_num_rays_per_batch=64,
                eval_num_rays_per_batch=64,
            ),
            model=NerfactoModelConfig(
                num_levels=4,
                log2_hashmap_size=10,
                max_res=64,
                num_nerf_samples_per_ray=12,
                num_proposal_samples_per_ray=(16, 14),
                proposal_net_args_list=[
                    {"hidden_dim": 8, "log2_hashmap_size": 8, "num_levels": 3, "max_res": 32}
                ],
                hidden_dim=16,
                hidden_dim_color=16,
                appearance_embed_dim=4,
                implementation="tcnn",  # as by default; without tiny-cuda-nn torch is used
                camera_optimizer=CameraOptimizerConfig(mode="SO3xR3"),
            ),
        ),
        optimizers={
            name: {"optimizer": AdamOptimizerConfig(lr=1e-2), "scheduler": None} for name in groups
        },
    )
    config.viewer.quit_on_train_completion = True
    config.save_config()
    trainer = config.setup()
    trainer.setup()
    trainer.train()


if __name__ == "__main__":
    home = Path(sys.argv[1]).resolve()
    home.mkdir(parents=True, exist_ok=True)
    os.chdir(home)
    os.environ["TORCH_HOME"] = str(home / "torch_home")
    write_data(home / "data")
    write_alexnet(home / "torch_home")
    train(home)
