"""Nerfstudio's own commands on exported fields, as users run them: ns-render, -export, -viewer.

The scene is a tiny NeRF as opaque fog, with a ball cut out of it whose place is known; the run it
was cut from is gone.
"""

import shutil

import numpy as np
import open3d
import pytest
from ns_commands import ns, shown_by_viewer
from PIL import Image
from solid_blocks import ball, block_where

from nerfstudio_plugin.display.object_blocks import Blocks
from nerfstudio_plugin.exports.field_export import FieldExportConfig, export_field
from nerfstudio_plugin.runs.opening import open_run
from sa3d.scene.elements import MaskGrid

CENTER, RADIUS = (0.1, 0.05, 0.0), 0.3
VOXEL = 0.08
"""Tolerance of the ball's surface: voxels are 1/16 wide, and samples are few."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fields(trained_once, tmp_path_factory):
    """Folder with the runs ``object`` and ``rest`` (the fog without the ball), and the ball."""
    folder = tmp_path_factory.mktemp("fields")
    for name in ("data", "outputs"):
        shutil.copytree(trained_once / name, folder / name)
    base = folder / "outputs/tiny/nerfacto/run/config.yml"
    text = base.read_text()
    base.write_text(text.replace("average_init_density: 1.0", "average_init_density: 100.0"))
    run = open_run(base, data=folder / "data")
    blocks = Blocks((block_where(MaskGrid(run.field.bounds, 64), ball(CENTER, RADIUS)),))
    for keep in ("object", "rest"):
        export_field(run, blocks, folder / keep, FieldExportConfig(keep))
    shutil.rmtree(folder / "outputs")
    return folder, blocks


def distances(points):
    return np.linalg.norm(np.asarray(points) - CENTER, axis=1)


def test_ns_render(fields, tmp_path):
    folder, _ = fields
    ns(
        "ns-render",
        "dataset",
        f"--load-config={folder / 'object/config.yml'}",
        f"--output-path={tmp_path}",
        "--split=test",
        "--image-format=png",
        "--rendered-output-names",
        "rgb",
        "accumulation",
        "rgba",
        cwd=tmp_path,
    )
    images = {}
    for name in ("rgb", "accumulation", "rgba"):
        first, _ = sorted((tmp_path / "test" / name).glob("*.png"))
        images[name] = np.asarray(Image.open(first)).astype(int)
    opaque = images["rgba"][..., 3] > 128
    assert 0.03 < opaque.mean() < 0.5
    assert (images["rgb"][images["rgba"][..., 3] == 0] == 255).all()
    assert images["rgb"][opaque].mean() < 200  # grey fog


def test_ns_export_pointcloud(fields, tmp_path):
    folder, _ = fields
    ns(
        "ns-export",
        "pointcloud",
        f"--load-config={folder / 'object/config.yml'}",
        f"--output-dir={tmp_path}",
        "--num-points=2000",
        "--num-rays-per-batch=4096",
        "--normal-method=open3d",
        "--remove-outliers=False",
        cwd=tmp_path,
    )
    cloud = open3d.io.read_point_cloud(str(tmp_path / "point_cloud.ply"))
    assert len(cloud.points) >= 2000
    away = np.abs(distances(cloud.points) - RADIUS)
    assert away.max() < 3 * VOXEL
    assert np.median(away) < VOXEL


def test_ns_export_tsdf(fields, tmp_path):
    folder, blocks = fields
    low, high = blocks.box()  # Nerfstudio fills unseen space: stay near the object
    ns(
        "ns-export",
        "tsdf",
        f"--load-config={folder / 'object/config.yml'}",
        f"--output-dir={tmp_path}",
        "--downscale-factor=1",
        "--resolution=32",
        "--bounding-box-min",
        *low,
        "--bounding-box-max",
        *high,
        "--texture-method=tsdf",
        cwd=tmp_path,
    )
    mesh = open3d.io.read_triangle_mesh(str(tmp_path / "tsdf_mesh.ply"))
    assert len(mesh.triangles) > 100
    away = np.abs(distances(mesh.vertices) - RADIUS)
    assert np.median(away) < VOXEL
    assert away.max() < 4 * VOXEL  # no block where no ray was stopped


def test_ns_viewer(fields, tmp_path):
    folder, _ = fields
    config = folder / "rest/config.yml"
    image, choices = shown_by_viewer(config, (2.0, 0.0, 0.1), "rgb", tmp_path)
    assert image is not None
    assert any(one >= {"rgb", "depth", "accumulation"} for one in choices)
