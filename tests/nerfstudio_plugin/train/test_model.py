"""The model that shows a segmentation: the NeRF as it is, masks, and parts left out."""

from dataclasses import replace

import pytest
import torch
from solid_blocks import ball, block_where

import sa3d
from nerfstudio_plugin.display.object_blocks import boxes_of
from nerfstudio_plugin.display.settings import Display
from nerfstudio_plugin.display.shown_objects import ShownObjects
from nerfstudio_plugin.runs.cameras import to_nerfstudio
from nerfstudio_plugin.train.model import SA3DModel, SA3DModelConfig
from sa3d.base.errors import SA3DError
from sa3d.loop.settings import Settings
from sa3d.objects.colors import object_color
from sa3d.scene.config import PrepareConfig
from sa3d.voting.mask_rendering import render_share

RESOLUTION = 32


@pytest.fixture(scope="module")
def prepared(trained_once, tmp_path_factory):
    opened = sa3d.open(
        trained_once / "outputs/tiny/nerfacto/run/config.yml",
        Settings(prepare=PrepareConfig(resolution=RESOLUTION, ray_side=24, min_weight=0.0)),
        data=trained_once / "data",
        cache_dir=tmp_path_factory.mktemp("cache"),
        device="cpu",
    )
    run, scene = opened.run, opened.scene
    for _ in scene.prepare():
        pass
    return run, scene


def shown_where(scene, **conditions):
    positions = scene.elements.positions_world
    shares = [condition(positions).float() for condition in conditions.values()]
    blocks = {name: block_where(scene.grid, condition) for name, condition in conditions.items()}
    return ShownObjects(
        scene.field.fingerprint, scene.elements, torch.stack(shares, dim=-1), blocks
    )


def above(positions):
    return positions[..., 2] > 0.02


def below(positions):
    return ~above(positions)


def everywhere(positions):
    return torch.ones_like(positions[..., 0], dtype=torch.bool)


def model_of(run, shown=None, **options):
    model = SA3DModel(SA3DModelConfig(**options), run, [])
    if shown is not None:
        model.show(shown)
    return model


def outputs_of(model, run, index=1):
    return model.get_outputs_for_camera(to_nerfstudio(run.views[index].camera))


def test_the_nerf_is_shown_as_it_renders_itself(prepared):
    run, scene = prepared
    expected = run.model.get_outputs_for_camera(to_nerfstudio(run.views[1].camera))
    for model in (model_of(run), model_of(run, shown_where(scene, top=above))):
        found = outputs_of(model, run)
        for name in ("rgb", "depth", "accumulation"):
            torch.testing.assert_close(found[name], expected[name])


def test_every_output_is_an_image(prepared):
    run, scene = prepared
    height, width = run.views[1].camera.height, run.views[1].camera.width
    channels = {"mask": 1, "object_rgb": 3, "removed_rgb": 3, "overlay": 3}
    several = {"mask_top": 1, "mask_bottom": 1}
    before = outputs_of(model_of(run), run)
    assert set(before) == {"rgb", "depth", "accumulation", *channels}
    after = outputs_of(model_of(run, shown_where(scene, top=above, bottom=below)), run)
    for name, count in (channels | several).items():
        assert after[name].shape == (height, width, count)
        assert after[name].min() >= 0
        assert after[name].max() <= 1


def test_the_mask_is_what_the_view_operators_render(prepared):
    run, scene = prepared
    shares = torch.rand(len(scene.elements), 1, generator=torch.Generator().manual_seed(0))
    shown = replace(shown_where(scene, any=above), shares=shares)
    view = scene.prepared(1)
    expected = render_share(view.operator, shares[:, 0])
    found = model_of(run, shown).get_outputs_for_camera(to_nerfstudio(view.camera))["mask"]
    torch.testing.assert_close(found.reshape(-1), expected, atol=5e-3, rtol=0)
    assert expected.std() > 0.01


def test_everything_kept_or_nothing(prepared):
    run, scene = prepared
    found = outputs_of(model_of(run, shown_where(scene, all=everywhere), background="black"), run)
    base = run.field.render(run.views[1].camera.image_rays())
    alone = (base.weights[..., None] * base.sample_rgb).sum(dim=1).reshape(found["rgb"].shape)
    torch.testing.assert_close(found["object_rgb"], alone, atol=0.02, rtol=0)
    nothing = replace(shown_where(scene, none=above), blocks={"none": None})
    found = outputs_of(model_of(run, nothing), run)
    assert (found["object_rgb"] == 1).all()
    assert torch.equal(found["removed_rgb"], found["rgb"])


def test_what_is_removed_lets_light_through(prepared):
    run, scene = prepared
    bundle = to_nerfstudio(run.views[1].camera).generate_rays(camera_indices=0).flatten()
    block = shown_where(scene, top=above).blocks["top"]
    whole = run.field.render_bundle(bundle)
    inside = (whole.weights * block.contains(whole.positions)).sum(dim=-1)
    assert inside.max() > 0.02
    kept = run.field.render_bundle(bundle, lambda x: (~block.contains(x)).float())
    assert (kept.weights * block.contains(kept.positions)).sum() == 0
    more = kept.accumulation - whole.accumulation
    assert more.mean() < -0.05
    assert more.quantile(0.95) < 0.05  # what stays has samples of its own: not of every single ray


def test_boxes_miss_no_ray_that_meets_the_object(prepared):
    run, scene = prepared
    block = block_where(scene.grid, ball((0.2, 0.1, 0.0), 0.15))
    rays = run.views[1].camera.image_rays()
    distances = torch.linspace(0, 6, 2000)
    points = rays.origins[:, None] + rays.directions[:, None] * distances[:, None]
    hits = block.contains(points).any(dim=-1)
    meets = boxes_of(block.volume).meet(rays.origins, rays.directions)
    assert hits.any()
    assert not meets.all()
    assert (meets | ~hits).all()


def test_training_mode_does_not_reach_the_nerf(prepared):
    run, _ = prepared
    model = model_of(run).train()
    assert model.training
    assert not any(module.training for module in run.model.modules())
    assert not any(p.requires_grad for p in run.model.parameters())
    assert [name for name, _ in model.named_parameters()] == ["device_indicator_param"]


def test_the_objects_to_cut_out_can_be_chosen(prepared):
    run, scene = prepared
    shown = shown_where(scene, top=above, bottom=below)
    model = model_of(run, shown, shown_object="top")
    assert model.object_choice.options == ["all", "top", "bottom"]
    found = outputs_of(model, run)
    assert torch.equal(found["mask"], found["mask_top"])
    every = outputs_of(model_of(run, shown), run)
    assert (every["mask"] >= every["mask_bottom"]).all()
    with pytest.raises(SA3DError, match="no object 'lid' to show; there are: all, top, bottom"):
        model_of(run, shown, shown_object="lid")


def test_transparency_comes_from_the_mask(prepared):
    run, scene = prepared
    model = model_of(run, shown_where(scene, top=above))
    found = outputs_of(model, run)
    rgba = model.get_rgba_image(found)
    assert torch.equal(rgba[..., 3:] > 0.5, found["mask"] > 0.5)
    with pytest.raises(SA3DError, match="the object is empty"):
        model_of(run).get_rgba_image(found)


def test_objects_survive_as_tensors(prepared, tmp_path):
    run, scene = prepared
    shown = shown_where(scene, top=above, bottom=below)
    shown = replace(
        shown,
        blocks={"none": None, **shown.blocks},
        shares=torch.rand(len(scene.elements), 3),
        colors={"top": (1, 2, 3)},
    )
    torch.save(shown.tensors(), tmp_path / "objects.ckpt")
    read = torch.load(tmp_path / "objects.ckpt", weights_only=True)
    back = ShownObjects.from_tensors(read, torch.device("cpu"))
    assert back.names == ["none", "top", "bottom"]
    assert back.palette([1, 0]) == [(1, 2, 3), object_color(0)]
    assert back.field == run.field.fingerprint
    first, second = (outputs_of(model_of(run, one), run) for one in (shown, back))
    for name, image in first.items():
        assert torch.equal(image, second[name])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.clear(), "holds no segmentation"),
        (lambda t: t.pop("sa3d.keys"), "damaged"),
        (lambda t: t.update({"sa3d.about": torch.tensor(list(b'{"version": 99}'))}), "format 99"),
        (lambda t: t.update({"sa3d.about": torch.tensor(list(b"{"))}), "damaged"),
    ],
)
def test_a_damaged_checkpoint_is_refused(prepared, spoil, message):
    tensors = shown_where(prepared[1], top=above).tensors()
    spoil(tensors)
    with pytest.raises(SA3DError, match=message):
        ShownObjects.from_tensors(tensors, torch.device("cpu"))


def test_a_display_shows_what_the_outputs_of_that_name_show(prepared):
    run, scene = prepared
    model = model_of(run, shown_where(scene, top=above, bottom=below), shown_object="top")
    expected = outputs_of(model, run)
    names = {"scene": "rgb", "object only": "object_rgb", "without object": "removed_rgb"}
    for mode, name in (names | {"overlay": "overlay"}).items():
        model.display = Display(mode, () if mode == "overlay" else ("top",))
        found = outputs_of(model, run)
        assert set(found) == {"rgb", "depth", "accumulation"}
        torch.testing.assert_close(found["rgb"], expected[name], atol=0.01, rtol=0)
    model.display = None
    again = outputs_of(model, run)
    assert all(torch.equal(again[name], image) for name, image in expected.items())
