"""Start of Nerfstudio's viewer on a trained run, with the panel, for ``sa3d view``."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from nerfstudio.configs.base_config import LoggingConfig, ViewerConfig
from nerfstudio.utils import writer
from nerfstudio.viewer.viewer import Viewer

from nerfstudio_plugin.fields.config import FieldsConfig
from nerfstudio_plugin.runs.datamanager import SA3DDataManagerConfig
from nerfstudio_plugin.train.pipeline import SA3DPipeline, SA3DPipelineConfig
from nerfstudio_plugin.viewer.panel import hide_photos
from nerfstudio_plugin.viewer.server_guard import guard_viewers
from sa3d.loop.settings import Settings

_PHOTOS_DRAWN = 60
"""Maximum number of photos whose frames are drawn in the scene."""


def serve(
    load_config: Path,
    data: Path | None,
    device: str,
    settings: Settings,
    cache_dir: Path | None,
    segmentation: Path,
    output_dir: Path | None,
    detector: str,
    viewer: ViewerConfig,
    token: str = "",
    load_step: int | None = None,
    fields: FieldsConfig | None = None,
) -> Viewer:
    """Open a run, and start the viewer in threads of its own.

    Args:
        load_config: the run's config.yml.
        data: the run's data, if it was moved; None: where config.yml says.
        settings: settings of the segmenter, the preparation and the loop.
        cache_dir: folder of scene caches; None: beside the run.
        segmentation: folder of the session.
        output_dir: the panel reads and writes below it; None: the run's folder.
        detector: name of the detector for objects named in words.
        viewer: address, port and image quality.
        token: needed to open the page, if it is not empty.
        load_step: training step of the checkpoint; None: the latest.
        fields: how the model is evaluated.

    Raises:
        SA3DError: the run has a problem that the user can solve.
    """
    guard_viewers(token)
    config = SA3DPipelineConfig(
        datamanager=SA3DDataManagerConfig(data=data),
        base_config=load_config,
        base_step=load_step,
        fields=fields or FieldsConfig(),
        cache_dir=cache_dir,
        segmenter=settings.segmenter,
        prepare=settings.prepare,
        loop=settings.loop,
        segmentation=segmentation,
        output_dir=output_dir,
        detector=detector,
    )
    pipeline = SA3DPipeline(config, device, test_mode="inference")
    viewer.max_num_display_images = _PHOTOS_DRAWN
    shown = Viewer(
        viewer,
        log_filename=pipeline.opened.run.load_config.parent / "viewer_log_filename.txt",
        datapath=pipeline.datamanager.get_datapath(),
        pipeline=pipeline,
        train_lock=Lock(),  # pyright: ignore[reportArgumentType]
    )
    quiet = LoggingConfig()
    quiet.local_writer.enable = False
    writer.setup_local_writer(quiet, max_iter=1)  # fills the buffer that the viewer reads
    shown.pause_train.visible = shown.resume_train.visible = False
    assert pipeline.datamanager.train_dataset is not None
    shown.init_scene(train_dataset=pipeline.datamanager.train_dataset, train_state="completed")
    shown.update_scene(step=0)
    hide_photos(shown)
    return shown
