"""Trains a nerfacto run on the demo room whose weights are those of tiny-cuda-nn, without a GPU.

``ns-train`` needs tiny-cuda-nn for that. Here, Nerfstudio's own trainer, data manager and model are
used, with the modules of ``sa3d.tcnn`` in the place of tiny-cuda-nn's.

Usage: train_tcnn_run.py FOLDER [STEPS [RAYS]]. Writes FOLDER/outputs/room/nerfacto/run, and a copy
of it in half precision without the states of optimizers, FOLDER/room. The run names the demo's own
photos. ``tcnn_room`` was made so, with 4000 steps of 1024 rays: half an hour on a core.
"""

import os
import shutil
import sys
from pathlib import Path

from train_tiny_run import write_alexnet

ROOM = Path("nerfstudio_plugin/demo_scenes/room")
"""Relative to the repository, so that the run is found in every copy of it."""


def train(folder: Path, steps: int, rays: int) -> Path:
    """Train a run; return its folder."""
    import torch
    from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
    from nerfstudio.configs.base_config import LoggingConfig, MachineConfig
    from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManagerConfig
    from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
    from nerfstudio.engine.optimizers import AdamOptimizerConfig
    from nerfstudio.engine.schedulers import ExponentialDecaySchedulerConfig
    from nerfstudio.engine.trainer import TrainerConfig
    from nerfstudio.models.nerfacto import NerfactoModelConfig
    from nerfstudio.pipelines.base_pipeline import VanillaPipelineConfig

    from nerfstudio_plugin.runs.model_building import tcnn_modules

    data = ROOM
    groups = ("proposal_networks", "fields")
    config = TrainerConfig(
        method_name="nerfacto",
        experiment_name="room",
        timestamp="run",
        output_dir=folder / "outputs",
        data=data,
        max_num_iterations=steps,
        vis="tensorboard",
        mixed_precision=False,
        machine=MachineConfig(device_type="cpu"),
        logging=LoggingConfig(profiler="none"),
        steps_per_eval_batch=steps + 1,
        steps_per_eval_image=steps + 1,
        steps_per_eval_all_images=steps + 1,
        pipeline=VanillaPipelineConfig(
            datamanager=VanillaDataManagerConfig(
                data=data,
                dataparser=NerfstudioDataParserConfig(scale_factor=0.75, downscale_factor=1),
                train_num_rays_per_batch=rays,
                eval_num_rays_per_batch=rays,
            ),
            model=NerfactoModelConfig(
                num_levels=7,
                log2_hashmap_size=16,
                max_res=512,
                hidden_dim=32,
                hidden_dim_color=32,
                num_nerf_samples_per_ray=24,
                num_proposal_iterations=1,
                num_proposal_samples_per_ray=(80,),
                proposal_net_args_list=[
                    {"hidden_dim": 16, "log2_hashmap_size": 15, "num_levels": 4, "max_res": 128}
                ],
                proposal_warmup=steps // 8,
                disable_scene_contraction=True,
                far_plane=2.4,
                appearance_embed_dim=8,
                average_init_density=0.1,
                implementation="tcnn",
                camera_optimizer=CameraOptimizerConfig(mode="off"),
            ),
        ),
        optimizers={
            name: {
                "optimizer": AdamOptimizerConfig(lr=1e-2, eps=1e-15),
                "scheduler": ExponentialDecaySchedulerConfig(lr_final=3e-4, max_steps=steps),
            }
            for name in groups
        },
    )
    config.viewer.quit_on_train_completion = True
    with tcnn_modules("tcnn", "torch", torch.device("cpu")):
        config.save_config()
        trainer = config.setup()
        trainer.setup()
    trainer.train()
    return config.get_base_dir()


def store(run: Path, folder: Path) -> None:
    """Write a run small enough to keep."""
    import torch
    import yaml

    from nerfstudio_plugin.runs.config_file import read_run_config

    (folder / "nerfstudio_models").mkdir(parents=True)
    (checkpoint,) = (run / "nerfstudio_models").glob("*.ckpt")
    content = torch.load(checkpoint, weights_only=False)
    content["pipeline"] = {
        key: value.half() if key.endswith(".params") else value
        for key, value in content["pipeline"].items()
        if ".lpips." not in key
    }
    content |= {"optimizers": {}, "schedulers": {}, "scalers": {}}
    torch.save(content, folder / "nerfstudio_models" / checkpoint.name)
    config = read_run_config(run / "config.yml")
    config.output_dir = Path("outputs")
    (folder / "config.yml").write_text(yaml.dump(config))
    shutil.copy(run / "dataparser_transforms.json", folder)


if __name__ == "__main__":
    home = Path(sys.argv[1]).resolve()
    steps, rays = [*map(int, sys.argv[2:]), *(400, 512)[len(sys.argv) - 2 :]]
    home.mkdir(parents=True, exist_ok=True)
    os.chdir(Path(__file__).parents[2])
    os.environ["TORCH_HOME"] = str(home / "torch_home")
    write_alexnet(home / "torch_home")
    store(train(home, steps, rays), home / "room")
