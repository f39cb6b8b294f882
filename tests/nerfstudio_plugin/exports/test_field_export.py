"""Exported fields: runs with the NeRF's densities in the kept part and 0 elsewhere."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.utils.eval_utils import eval_setup
from solid_blocks import ball, block_where

import sa3d
from nerfstudio_plugin.display.object_blocks import Blocks
from nerfstudio_plugin.exports.field_export import FieldExportConfig, export_field
from nerfstudio_plugin.runs.opening import open_run
from nerfstudio_plugin.saved.segmentation_folder import provenance
from sa3d.base.errors import SA3DError
from sa3d.loop.settings import Settings
from sa3d.objects.checkpoint import save_segmentation
from sa3d.scene.config import PrepareConfig
from sa3d.scene.elements import MaskGrid
from sa3d.testing.analytic_scene import voted_segmentation

CENTER, RADIUS = (0.1, 0.05, 0.0), 0.3

pytestmark = [  # Nerfstudio leaves images open
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in.*FileIO"),
]


def blocks_of(run, *conditions):
    grid = MaskGrid(run.field.bounds, 64)
    return Blocks(tuple(block_where(grid, condition) for condition in conditions))


def in_ball(run):
    return blocks_of(run, ball(CENTER, RADIUS))


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def opened(config):
    """Open a run as every command of Nerfstudio does."""
    return eval_setup(config)[1]


def test_densities_are_the_nerfs_inside_and_nothing_outside(dense_run, tmp_path):
    run = open_run(dense_run)
    blocks = blocks_of(run, ball(CENTER, RADIUS), ball((-0.5, 0.0, 0.2), 0.2))
    points = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) * 3 - 1.5
    inside = blocks.contain(points)
    assert inside.any()
    assert not inside.all()
    for keep, kept in (("object", inside), ("rest", ~inside)):
        written = export_field(run, blocks, tmp_path / keep, FieldExportConfig(keep))
        model = opened(written.config).model
        pairs = [(model.field, run.model.field)]
        pairs += zip(model.proposal_networks, run.model.proposal_networks, strict=True)
        assert len(pairs) == 3
        for cut, whole in pairs:
            expected = torch.where(kept, whole.density_fn(points)[:, 0], 0.0)
            assert torch.equal(cut.density_fn(points)[:, 0], expected)


def test_images_of_the_ball_alone(dense_run, tmp_path):
    run = open_run(dense_run)
    written = export_field(run, in_ball(run), tmp_path / "ball", FieldExportConfig("object"))
    pipeline = opened(written.config)
    camera = run.views[2].camera
    cameras = pipeline.datamanager.train_dataset.cameras
    names = [path.name for path in pipeline.datamanager.train_dataset.image_filenames]
    index = names.index(run.views[2].name)
    outputs = pipeline.model.get_outputs_for_camera(cameras[index : index + 1])
    rays = camera.image_rays()
    to_ball = torch.tensor(CENTER) - rays.origins
    along = (to_ball * rays.directions).sum(-1)
    missed_by = (to_ball**2).sum(-1).sub(along**2).clamp_min(0).sqrt().reshape(24, 32)
    shown = outputs["accumulation"][..., 0] > 0.5
    assert shown[missed_by < RADIUS - 0.07].all()
    assert not shown[missed_by > RADIUS + 0.07].any()
    front = (along - (RADIUS**2 - missed_by.reshape(-1) ** 2).clamp_min(0).sqrt()).reshape(24, 32)
    middle = missed_by < RADIUS / 2
    assert (outputs["depth"][..., 0] - front)[middle].abs().max() < 0.12
    for name in ("depth", "expected_depth", "prop_depth_0"):  # far, so that the space is empty
        assert (outputs[name][..., 0][missed_by > RADIUS + 0.07] == 1000).all(), name
    assert (outputs["rgb"][missed_by > RADIUS + 0.07] == 1).all()
    rgba = pipeline.model.get_rgba_image(outputs)
    assert torch.equal(rgba[..., 3] > 0.5, shown)
    assert written.visible == pytest.approx(float(shown.float().mean()), abs=0.1)


def test_skipped_rays_are_those_that_show_nothing(dense_run, tmp_path):
    run = open_run(dense_run)
    pipeline = opened(export_field(run, in_ball(run), tmp_path / "ball").config)
    bundle = pipeline.datamanager.train_dataset.cameras.generate_rays(camera_indices=1).flatten()
    skipping = pipeline.model(bundle[:])
    blocks = pipeline.model.blocks
    near = blocks.meet(bundle.origins, bundle.directions)
    assert near.any()
    assert not near.all()
    pipeline.model.blocks = Everywhere(blocks.parts)
    for name, expected in pipeline.model(bundle[:]).items():
        if not name.startswith("prop"):
            torch.testing.assert_close(skipping[name], expected, msg=name)


def test_a_ball_far_away_is_seen(dense_run, tmp_path):
    run = open_run(dense_run)
    model = opened(export_field(run, in_ball(run), tmp_path / "ball").config).model
    origins = torch.tensor([[20.0, 0.05, 0.0], [20.0, 0.05, 0.5]])
    directions = torch.tensor([[-1.0, 0.0, 0.0]]).repeat(2, 1)
    area, camera = torch.ones(2, 1), torch.zeros(2, 1, dtype=torch.long)
    found = model(RayBundle(origins, directions, area, camera))
    assert found["accumulation"][0] > 0.5  # opacity depends on the positions of the samples
    assert found["accumulation"][1] == 0
    assert found["depth"][0] == pytest.approx(20 - CENTER[0] - RADIUS, abs=RADIUS / 2)
    assert found["depth"][1] == 1000


class Everywhere(Blocks):
    """Blocks that every ray may hit."""

    def meet(self, origins, directions):
        return torch.ones_like(origins[:, 0], dtype=torch.bool)


def test_removing_an_object_off_the_ray_changes_nothing(dense_run, tmp_path):
    run = open_run(dense_run)
    blocks = blocks_of(run, ball((0.0, 0.0, 0.6), 0.1))
    written = export_field(run, blocks, tmp_path / "rest", FieldExportConfig("rest"))
    pipeline = opened(written.config)
    bundle = pipeline.datamanager.train_dataset.cameras.generate_rays(camera_indices=1).flatten()
    near = blocks.meet(bundle.origins, bundle.directions)
    assert not near.all()
    cut, whole = pipeline.model(bundle[:]), run.model(bundle[:])
    for name in ("rgb", "depth", "accumulation"):
        torch.testing.assert_close(cut[name][~near], whole[name][~near])


def test_it_opens_without_the_run_it_came_from_and_elsewhere(dense_run, tmp_path, monkeypatch):
    run = open_run(dense_run)
    original = files(dense_run.parent)
    weights = {name: value.clone() for name, value in run.model.state_dict().items()}
    written = export_field(run, in_ball(run), tmp_path / "exported/ball")
    assert files(dense_run.parent) == original
    state = torch.load(written.checkpoint, weights_only=True)["pipeline"]
    assert all(torch.equal(state[f"_model.{name}"], weights[name]) for name in weights)
    assert not any("lpips" in name or "vgg" in name for name in state)
    first = opened(written.config).model.state_dict()
    shutil.rmtree(tmp_path / "outputs")
    shutil.move(tmp_path / "exported/ball", tmp_path / "moved/ball")
    for place in (tmp_path / "moved", tmp_path / "moved/ball"):
        monkeypatch.chdir(place)
        again = opened(tmp_path / "moved/ball/config.yml").model
        assert all(torch.equal(value, first[name]) for name, value in again.state_dict().items())
        assert again.blocks.contain(torch.tensor([CENTER])).all()


def test_empty_fields_are_refused(tiny_run, tmp_path):
    run = open_run(tiny_run)
    nowhere = blocks_of(run, lambda x: x[:, 0] > 1e9)
    with pytest.raises(SA3DError, match="no density inside the object"):
        export_field(run, nowhere, tmp_path / "out")
    thin = blocks_of(run, ball(CENTER, 0.1))  # thin fog: stops less than half of the light
    with pytest.raises(SA3DError, match="nothing would be visible"):
        export_field(run, thin, tmp_path / "out")
    behind = blocks_of(run, ball((0.0, 0.0, 30.0), 5.0))  # above all cameras
    with pytest.raises(SA3DError, match="nothing would be visible"):
        export_field(run, behind, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.update({"_model.sa3d.volume_0.share": torch.zeros(64, 64, 64)}), "is empty"),
        (lambda s: s.pop("_model.sa3d.about"), "no object to cut out"),
        (lambda s: s.pop("_model.sa3d.volume_0.corner"), "damaged"),
        (lambda s: s.pop("_model.field.mlp_head.layers.0.weight"), "does not fit"),
    ],
)
def test_a_damaged_checkpoint_does_not_open(dense_run, tmp_path, spoil, message):
    run = open_run(dense_run)
    written = export_field(run, in_ball(run), tmp_path / "ball")
    content = torch.load(written.checkpoint, weights_only=True)
    spoil(content["pipeline"])
    torch.save(content, written.checkpoint)
    with pytest.raises(SA3DError, match=message):
        opened(written.config)


def test_nothing_is_replaced_but_an_exported_field(dense_run, tmp_path):
    run = open_run(dense_run)
    export_field(run, in_ball(run), tmp_path / "ball")
    before = files(tmp_path / "ball")
    with pytest.raises(SA3DError, match="overwrite=True"):
        export_field(run, in_ball(run), tmp_path / "ball")
    assert files(tmp_path / "ball") == before
    black = FieldExportConfig(background="black")
    export_field(run, in_ball(run), tmp_path / "ball", black, overwrite=True)
    assert files(tmp_path / "ball") != before
    base = files(dense_run.parent)
    with pytest.raises(SA3DError, match="is not replaced"):  # a trained run looks similar
        export_field(run, in_ball(run), dense_run.parent, overwrite=True)
    assert files(dense_run.parent) == base


def test_it_is_no_scene_to_train_or_to_segment_in(dense_run, tmp_path):
    run = open_run(dense_run)
    written = export_field(run, in_ball(run), tmp_path / "ball")
    with pytest.raises(SA3DError, match="cannot be trained"):
        opened(written.config).get_param_groups()
    with pytest.raises(SA3DError, match="cannot be segmented"):
        open_run(written.config)


def test_options_of_variants_and_the_background(dense_run, tmp_path):
    run = open_run(dense_run)
    written = export_field(run, in_ball(run), tmp_path / "a", FieldExportConfig("object", "black"))
    config = yaml.load(written.config.read_text(), Loader=yaml.Loader)
    assert config.pipeline.model.background_color == "black"
    assert config.pipeline.model.num_levels == 4
    assert config.pipeline.datamanager.data == run.data.resolve()
    written = export_field(run, in_ball(run), tmp_path / "b", FieldExportConfig("rest", "black"))
    config = yaml.load(written.config.read_text(), Loader=yaml.Loader)
    assert config.pipeline.model.background_color == "last_sample"


@pytest.fixture
def segmented(dense_run, tmp_path):
    """A saved segmentation: fog in the left and in the right of all views."""
    dense_run.write_text(dense_run.read_text().replace("density: 100.0", "density: 8.0"))
    prepare = PrepareConfig(resolution=96, ray_side=32)
    opened = sa3d.open(dense_run, Settings(prepare=prepare), data=tmp_path / "data", device="cpu")
    run, scene = opened.run, opened.scene
    for _ in scene.prepare():
        pass
    left, right = np.zeros((2, len(scene.views), 24, 32), dtype=bool)
    left[:, 6:18, 4:14] = right[:, 6:18, 18:28] = True
    segmentation = voted_segmentation(scene, {"left": left, "right": right})
    notes = provenance(run, Settings(prepare=prepare), None)
    save_segmentation(segmentation, tmp_path / "segmentation", notes)
    return tmp_path / "segmentation"


def test_the_command_prints_further_commands(command_line_of_runs, segmented, tmp_path):
    command = ("export", "field", "--segmentation", segmented, "--output", tmp_path / "out")
    out = command_line_of_runs.succeeds(*command)
    config = tmp_path / "out/config.yml"
    lines = out.splitlines()
    assert lines[0] == f"object: left, right in {tmp_path / 'out'}; open it with"
    assert [line.split()[0] for line in lines[1:]] == [
        "ns-viewer",
        "ns-render",
        "ns-export",
        "ns-export",
    ]
    assert all(f"--load-config {config} " in f"{line} " for line in lines[1:])
    manifest = json.loads(Path(f"{tmp_path / 'out'}.manifest.json").read_text())
    assert [one["name"] for one in manifest["objects"]] == ["left", "right"]
    assert manifest["frame"]["name"] == "nerfstudio"
    assert manifest["settings"] == {"keep": "object", "background": "white"}
    assert manifest["result"]["visible_share"] > 0
    checkpoint = tmp_path / manifest["files"][1]
    assert checkpoint.is_file()
    one = command_line_of_runs.succeeds(
        *command[:-1], tmp_path / "one", "--objects", "left", "--keep", "rest"
    )
    assert one.startswith("rest: left in ")
    assert "--bounding-box-min" in out
    assert "--bounding-box-min" not in one  # the whole scene
    volumes = {
        name: len(opened(tmp_path / name / "config.yml").model.blocks.parts)
        for name in ("out", "one")
    }
    assert volumes == {"out": 2, "one": 1}
    hashed = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert "--overwrite" in command_line_of_runs.refuses(*command)
    assert hashlib.sha256(checkpoint.read_bytes()).hexdigest() == hashed
