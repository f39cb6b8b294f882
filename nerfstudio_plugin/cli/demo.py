"""``sa3d demo``: segment a scene that comes with the program, and measure the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nerfstudio_plugin.cli.options import ReportOptions, SettingsOptions, run
from nerfstudio_plugin.cli.terminal import ERR, OUT, event_bar, print_outcome, table
from sa3d.base.errors import SA3DError
from sa3d.base.storage import write_json
from sa3d.objects.folder import refuse_to_replace

if TYPE_CHECKING:
    from nerfstudio_plugin.demo.data import DemoScene
    from sa3d.evaluation.stages import StageRecorder
    from sa3d.export.frames import Placement
    from sa3d.loop.session import Session
    from sa3d.objects.segmentation import Segmentation
    from sa3d.scene.scene import Scene

_HELP = """Segment the objects of a scene that comes with the program, and measure the result.

Nothing is downloaded and no GPU is needed: the trained scene, its photos and exact masks are
part of the package, and the embedded segmenter has no weights. Writes, per scene, a segmentation
folder, overlay.png, a mesh and a point cloud per object, and results.json.

examples:
  sa3d demo --output demo_output
  sa3d demo --scene garden --objects jug melon --output demo_output
"""

_HEADERS = ("object", "lifted", "first pass", "converged", "upper bound")


@dataclass(kw_only=True)
class Demo(ReportOptions, SettingsOptions):
    """Segment a demo scene."""

    scene: Literal["room", "garden"] = "room"
    """The demo scene: room (things on a table) or garden (things around a pole outdoors)."""
    objects: tuple[str, ...] = ()
    """Only these objects; all by default."""
    output: Path = Path("demo_output")
    """Folder for everything that is written, the scene cache too."""
    overwrite: bool = False
    """Replace the results of an earlier demo."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Device to compute on; auto takes a GPU if there is one."""


def main(arguments: Sequence[str]) -> None:
    """Run ``sa3d demo``.

    Raises:
        SA3DError: a problem that the user can solve.
    """
    run(_run, Demo, arguments, "sa3d demo", _HELP, preset="demo")


def _run(command: Demo) -> None:
    from nerfstudio_plugin.api.opening import open as open_run
    from nerfstudio_plugin.demo.data import open_demo
    from nerfstudio_plugin.saved.overlay import overlay_sheet
    from nerfstudio_plugin.saved.segmentation_folder import segmentation_report
    from sa3d.evaluation.stages import StageRecorder
    from sa3d.objects.checkpoint import save_segmentation

    demo = open_demo(command.scene)
    chosen = _chosen(command.objects, demo)
    folder = command.output / command.scene
    refuse_to_replace(folder / "segmentation", overwrite=command.overwrite)
    opened = open_run(
        demo.load_config,
        command.settings,
        data=demo.folder,
        cache_dir=command.output / "cache",
        device=command.device,
    )
    recorder = StageRecorder()
    prompts = [demo.prompts[name] for name in chosen]
    with event_bar() as bar:

        def progress(event: Any) -> None:
            bar(event)
            recorder.note(opened.session, event)

        opened.segment_prompts(prompts, progress)
    made, session = opened.export_source, opened.session
    scene, segmentation = made.scene, made.segmentation
    save_segmentation(
        segmentation, folder / "segmentation", made.provenance, overwrite=command.overwrite
    )
    scores = _scores(scene, demo, session, recorder)
    report = segmentation_report(segmentation, scene) | {"scene": command.scene, "iou": scores}
    overlay_sheet(scene, segmentation, folder / "overlay.png")
    report["files"] = _write_3d(scene, segmentation, folder, made.placement("original"))
    write_json(folder / "results.json", report)
    print_outcome(segmentation)
    OUT.print(_score_table(scores))
    OUT.print(f"pictures, meshes, point clouds and results.json: {folder}")
    command.write_report(report)


def _chosen(names: Sequence[str], demo: DemoScene) -> list[str]:
    for name in names:
        if name not in demo.prompts:
            raise SA3DError(f"no object {name!r} here; there are: {', '.join(demo.prompts)}")
    return list(dict.fromkeys(names)) or list(demo.prompts)


def _scores(
    scene: Scene, demo: DemoScene, session: Session, recorder: StageRecorder
) -> dict[str, Any]:
    """Return the mean IoU over views per object and stage, with the mean and the worst object."""
    import numpy as np

    from sa3d.evaluation.stages import STAGES, object_ious, upper_bound

    exact = {name: demo.exact_masks(name, scene.views) for name in session.result().objects}
    bound = upper_bound(scene, exact, session.config)
    by_stage = {
        stage: object_ious(scene, recorder.segmentation(session, stage), exact) for stage in STAGES
    } | {"upper_bound": object_ious(scene, bound, exact)}
    return {
        "objects": {
            name: {stage: values[name] for stage, values in by_stage.items()} for name in exact
        },
        "mean": {stage: float(np.mean(list(v.values()))) for stage, v in by_stage.items()},
        "worst": {stage: min(values.values()) for stage, values in by_stage.items()},
    }


def _score_table(scores: Mapping[str, Any]) -> Any:
    from sa3d.evaluation.stages import STAGES

    rows = {**scores["objects"], "mean": scores["mean"], "worst": scores["worst"]}
    return table(
        _HEADERS,
        [
            (name, *(f"{row[stage]:.3f}" for stage in (*STAGES, "upper_bound")))
            for name, row in rows.items()
        ],
    )


def _write_3d(
    scene: Scene, segmentation: Segmentation, folder: Path, placed: Placement
) -> dict[str, dict[str, str]]:
    """Write a mesh and a point cloud per object; print an object's error and continue."""
    from sa3d.export.mesh import export_mesh
    from sa3d.export.pointcloud import export_pointcloud

    written: dict[str, dict[str, str]] = {}
    with ERR.status("writing meshes and point clouds"):
        for name in segmentation.objects:
            mesh, cloud = folder / "mesh" / f"{name}.glb", folder / "pointcloud" / f"{name}.ply"
            try:
                export_mesh(scene, segmentation, name, mesh, placement=placed, overwrite=True)
                export_pointcloud(
                    scene, segmentation, [name], cloud, placement=placed, overwrite=True
                )
            except SA3DError as error:
                ERR.print(f"{name}: {error}")
                continue
            written[name] = {"mesh": str(mesh), "pointcloud": str(cloud)}
    return written
