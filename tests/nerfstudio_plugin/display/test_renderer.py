"""The viewer's images: every mode, at once where only settings change, coarse before fine."""

from dataclasses import replace

import pytest
import torch
from ball_and_wall import BLUE, GRID, RED, BallAndWall, camera_at, in_ball, in_wall, objects
from solid_blocks import block_where

from nerfstudio_plugin.display.overlays import heat_map, outline, overlay
from nerfstudio_plugin.display.renderer import DisplayRenderer
from nerfstudio_plugin.display.settings import MODES, Display
from nerfstudio_plugin.display.viewer_request import Request
from sa3d.objects.colors import COLORS, object_color

SIZE = 24, 30
CENTER, CORNER = (12, 15), (1, 1)
WHITE = torch.ones(3)


@pytest.fixture
def field():
    return BallAndWall()


@pytest.fixture
def renderer(field):
    return DisplayRenderer(field, WHITE)


@pytest.fixture(scope="module")
def shown():
    blocks = {name: block_where(GRID, where) for name, where in WHERE.items()}
    return objects(blocks, **WHERE)


WHERE = {"ball": in_ball, "wall": in_wall}


def graded():
    """A ball whose evidence share falls from 1 in its middle to 0 far away, in its block too."""

    def share(positions):
        return (1 - positions.norm(dim=-1)).clamp(0, 1)

    block = block_where(GRID, in_ball)
    cells = torch.cartesian_prod(*[torch.arange(GRID.resolution)] * 3)
    values = share(GRID.bounds.to_world((cells + 0.5) / GRID.resolution))
    volume = replace(block.volume, share=values.reshape([GRID.resolution] * 3))
    return objects({"ball": type(block).around(volume)}, ball=share)


def shows(renderer, display, shown, x=0.0, **request):
    return renderer.outputs(Request(camera_at(x), **request), display, shown)["rgb"]


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="no display mode 'xray'; there are: scene, overlay"):
        Display(mode="xray")
    for threshold in (0.0, 1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            Display(threshold=threshold)


def test_colors_and_objects_by_name(shown):
    names = ["mug", "ball"]
    assert Display().chosen(names) == [0, 1]
    assert Display(objects=("ball", "gone")).chosen(names) == [1]
    assert replace(shown, colors={"wall": (1, 2, 3)}).palette([1, 0]) == [(1, 2, 3), COLORS[0]]
    assert object_color(len(COLORS)) == COLORS[0]


def test_the_color_blind_can_distinguish_all_colors():
    # Vienot et al. 1999: what remains of linear RGB without the long- or the middle-wave cones
    linear = (torch.tensor(COLORS) / 255.0) ** 2.2
    kept = linear @ torch.tensor([[0.11, 0.11, 0.0], [0.89, 0.89, 0.0], [0.0, 0.0, 1.0]])
    kept = kept ** (1 / 2.2)
    assert torch.pdist(kept).min() > 0.08


def test_the_scene_is_what_the_field_renders(renderer, field, shown):
    bundle = camera_at().generate_rays(camera_indices=0)
    expected = field.render_bundle(bundle.flatten())
    found = renderer.outputs(Request(camera_at()), Display("scene"), shown)
    torch.testing.assert_close(found["rgb"], expected.rgb.reshape(*SIZE, 3))
    torch.testing.assert_close(found["depth"], expected.depth.reshape(*SIZE, 1))
    torch.testing.assert_close(found["accumulation"], expected.accumulation.reshape(*SIZE, 1))


def test_every_mode_shows_its_own_image(renderer, shown):
    only_ball = ("ball",)
    found = {mode: shows(renderer, Display(mode, only_ball), shown) for mode in MODES}
    orange = torch.tensor(COLORS[0]) / 255
    torch.testing.assert_close(
        found["overlay"][CENTER], 0.4 * RED + 0.6 * orange, atol=1e-4, rtol=0
    )
    torch.testing.assert_close(found["overlay"][CORNER], BLUE)
    torch.testing.assert_close(found["object only"][CENTER], RED, atol=1e-4, rtol=0)
    torch.testing.assert_close(found["object only"][CORNER], WHITE)
    torch.testing.assert_close(found["without object"][CENTER], BLUE)
    torch.testing.assert_close(found["outline"][CENTER], RED, atol=1e-4, rtol=0)
    lines = (found["outline"] - found["scene"]).abs().amax(dim=-1) > 0.1
    touched = (found["overlay"] - found["scene"]).abs().amax(dim=-1) > 0.1
    assert lines.any(dim=1).sum() < 20
    assert touched[CENTER]
    assert not lines[CENTER]
    assert len({image.numpy().tobytes() for image in found.values()}) == len(MODES)


def test_what_is_hidden_shows_alone(renderer, shown):
    found = shows(renderer, Display("object only", ("wall",)), shown)
    torch.testing.assert_close(found[CENTER], BLUE, atol=1e-4, rtol=0)


def test_depth_behind_what_was_left_out(renderer, shown):
    request = Request(camera_at())
    whole = renderer.outputs(request, Display("scene"), shown)["depth"][CENTER]
    gone = renderer.outputs(request, Display("without object", ("ball",)), shown)["depth"]
    alone = renderer.outputs(request, Display("object only", ("ball",)), shown)["depth"]
    torch.testing.assert_close(whole, torch.tensor([2.5]), atol=0.06, rtol=0)
    torch.testing.assert_close(gone[CENTER], torch.tensor([4.0]), atol=0.06, rtol=0)
    torch.testing.assert_close(alone[CENTER], torch.tensor([2.5]), atol=0.06, rtol=0)
    assert alone[CORNER] > 100


def test_nothing_to_show_is_the_scene(renderer, shown):
    scene = shows(renderer, Display("scene"), None)
    for mode in MODES:
        assert torch.equal(shows(renderer, Display(mode), None), scene)
        assert torch.equal(shows(renderer, Display(mode, ("gone",)), shown), scene)


def test_before_objects_are_solid_their_elements_are_shown(renderer, shown):
    unbuilt = replace(shown, blocks=dict.fromkeys(shown.blocks))
    alone = shows(renderer, Display("object only", ("ball",)), unbuilt)
    torch.testing.assert_close(alone[CENTER], RED, atol=1e-4, rtol=0)
    torch.testing.assert_close(alone[CORNER], WHITE, atol=1e-4, rtol=0)


@pytest.mark.parametrize("side", [16, 64])
def test_an_outline_is_two_pixels_wide_and_on_the_boundary(side):
    mask = torch.zeros(side, side, 1)
    mask[:, side // 2 :] = 1
    line = outline(torch.zeros(side, side, 3), mask, [(255, 255, 255)], 0.5)[..., 0]
    torch.testing.assert_close(line.sum(dim=1), torch.full((side,), 2.0))
    columns = torch.arange(side) + 0.5
    torch.testing.assert_close(line @ columns, torch.full((side,), float(side)))  # mean: side / 2
    assert (line[:, side // 2 - 1 : side // 2 + 1] == 1).all()


def test_outlines_leave_out_what_is_not_there():
    scene = torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(outline(scene, torch.zeros(8, 8, 2), COLORS[:2], 0.5), scene)
    assert torch.equal(overlay(scene, torch.zeros(8, 8, 2), COLORS[:2], 0.5), scene)


def test_the_heat_map_goes_from_violet_to_yellow_and_marks_the_unknown():
    grey, probability = torch.full((16, 16, 3), 0.5), torch.zeros(16, 16)
    probability[:, 8:] = 1
    known = torch.ones(16, 16)
    known[8:] = 0
    found = heat_map(grey, probability, known)
    low, high = found[0, 0], found[0, 15]
    assert low[2] > low[1]
    assert high[1] > high[2] + 0.3
    assert high.sum() > low.sum() + 0.5
    unknown = found[8:]
    assert (unknown.amax(dim=-1) - unknown.amin(dim=-1) < 1e-6).all()
    assert len(unknown[..., 0].unique()) == 2
    assert torch.equal(unknown[:, :8], unknown[:, 8:])


def test_a_changed_setting_evaluates_nothing(renderer, field, shown):
    shows(renderer, Display("overlay"), shown)
    before = field.rays
    for mode in ("scene", "outline", "overlay", "probability"):
        for threshold in (0.3, 0.5, 0.8):
            painted = replace(shown, colors={"ball": (9, 9, 9)})
            shows(renderer, Display(mode, ("ball",), threshold), painted)
    shows(renderer, Display("overlay"), replace(shown, shares=1 - shown.shares))
    assert field.rays == before == 24 * 30


def test_a_higher_threshold_shows_less(renderer, field):
    shown = graded()
    scene = shows(renderer, Display("scene"), shown)
    sizes = []
    for threshold in (0.1, 0.3, 0.5, 0.7):
        found = shows(renderer, Display("overlay", (), threshold), shown)
        sizes.append(int(((found - scene).abs().amax(dim=-1) > 0.05).sum()))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]
    assert field.rays == 24 * 30


@pytest.mark.parametrize("mode", ["object only", "without object"])
@pytest.mark.parametrize(("first", "then"), [(0.55, 0.62), (0.62, 0.55)])
def test_cut_elsewhere_at_once_and_then_exactly(field, mode, first, then):
    shown, renderer = graded(), DisplayRenderer(field, WHITE)
    hurry = {"seconds": 0.0, "again": lambda: None}
    earlier = shows(renderer, Display(mode, (), first), shown)
    before = field.rays
    at_once = shows(renderer, Display(mode, (), then), shown, **hurry)
    assert field.rays == before
    fresh = shows(DisplayRenderer(BallAndWall(), WHITE), Display(mode, (), then), shown)
    assert not torch.equal(earlier, fresh)
    if then > first and mode == "object only":  # less of what was rendered; else it is a guess
        size, exact = (image[..., 1].lt(0.5).sum() for image in (at_once, fresh))
        assert size == exact
    torch.testing.assert_close(shows(renderer, Display(mode, (), then), shown), fresh)


def test_cut_outs_do_not_grow_into_elements_without_votes(renderer):
    shown = graded()
    usual = shows(renderer, Display("object only", (), 0.5), shown)
    assert torch.equal(shows(renderer, Display("object only", (), 0.2), shown), usual)
    unknown = replace(shown, voted=torch.zeros_like(shown.shares, dtype=torch.bool))
    found = {t: shows(renderer, Display("overlay", (), t), unknown) for t in (0.2, 0.5, 0.7)}
    torch.testing.assert_close(found[0.2], found[0.5])
    assert not torch.equal(found[0.7], found[0.5])


def test_memory_is_bounded(field, shown):
    renderer = DisplayRenderer(field, WHITE, max_bytes=2_000_000)
    for step in range(5):
        shows(renderer, Display("overlay"), shown, x=0.01 * step)
        assert renderer.canvases.size_bytes <= 2_000_000
    assert len(renderer.canvases) == 2
    kept = field.rays
    shows(renderer, Display("outline"), shown, x=0.04)
    assert field.rays == kept
    shows(renderer, Display("outline"), shown, x=0.0)
    assert field.rays == kept + 24 * 30


def test_an_image_larger_than_memory_stays_coarse(field, shown):
    renderer, asked = DisplayRenderer(field, WHITE, max_bytes=100_000), [True]
    while asked:
        asked.clear()
        hurry = {"seconds": 0.0, "again": lambda: asked.append(True)}
        found = shows(renderer, Display("without object"), shown, **hurry)
    assert field.rays < 200
    assert found.shape == (*SIZE, 3)


def test_coarse_images_come_first_and_no_ray_twice(renderer, field, shown):
    asked = []
    hurry = {"seconds": 0.0, "again": lambda: asked.append(True)}
    whole = shows(DisplayRenderer(BallAndWall(), WHITE), Display("scene"), shown)
    errors = []
    for _ in range(100):
        count = len(asked)
        errors.append(
            float((shows(renderer, Display("scene"), shown, **hurry) - whole).abs().mean())
        )
        if len(asked) == count:
            break
    assert errors[0] > 0.02
    assert errors[-1] == 0
    assert len(asked) == len(errors) - 1 > 3
    assert field.rays == 24 * 30


def test_an_interrupted_render_goes_on_where_it_was(renderer, field, shown):
    class InterruptedError_(Exception):
        pass

    field.fails = [InterruptedError_()]
    with pytest.raises(InterruptedError_):
        shows(renderer, Display("scene"), shown)
    shows(renderer, Display("scene"), shown, seconds=0.0, again=lambda: None)
    field.fails = [InterruptedError_()]
    with pytest.raises(InterruptedError_):
        shows(renderer, Display("scene"), shown, seconds=9.0, again=lambda: None)
    found = shows(renderer, Display("scene"), shown)
    assert torch.equal(found, shows(DisplayRenderer(BallAndWall(), WHITE), Display("scene"), shown))
    assert field.rays == 24 * 30


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory")])
def test_short_memory_drops_other_images_and_then_detail(renderer, field, shown, error):
    asked = []
    hurry = {"seconds": 0.0, "again": lambda: asked.append(True)}
    shows(renderer, Display("scene"), shown, x=0.3)
    field.fails = [error]
    coarse = shows(renderer, Display("scene"), shown, **hurry)
    assert len(renderer.canvases) == 1
    assert asked
    asked.clear()
    field.fails = [error]
    assert torch.equal(shows(renderer, Display("scene"), shown, **hurry), coarse)
    assert not asked
    field.fails = [RuntimeError("something else")]
    with pytest.raises(RuntimeError, match="something else"):
        shows(renderer, Display("scene"), shown)
