"""Errors of the core name fields; the command line prints them as flags."""

import pytest

from nerfstudio_plugin.cli.export import export_command
from nerfstudio_plugin.cli.objects import Add
from nerfstudio_plugin.cli.options import option_names, run, with_flags
from nerfstudio_plugin.cli.segment import Segment
from sa3d.base.errors import SA3DError


def test_option_names_are_those_that_help_lists(capsys):
    for kind in (Segment, export_command("mesh")):
        with pytest.raises(SystemExit):
            run(lambda _: None, kind, ["--help"], "sa3d x", "")
        help_text = capsys.readouterr().out
        names = option_names(kind)
        assert {"output", "overwrite", "cache_dir"} <= names
        for name in names:
            assert f"--{name.replace('_', '-')}" in help_text or f"--no-{name}" in help_text
    assert {"prepare.ray_side", "loop.convergence.max_rounds", "find.proposals.views"} <= (
        option_names(Segment)
    )
    assert "mesh.cell_size" in option_names(export_command("mesh"))
    assert not {"name", "object"} & option_names(Add)  # positional, and hidden


@pytest.mark.parametrize(
    ("message", "printed"),
    [
        ("a larger 'prepare.ray_side'", "a larger --prepare.ray-side"),
        ("give another 'cache_dir'", "give another --cache-dir"),
        ("mark it with 'points', 'box' or 'mask'", "mark it with --points, --box or --mask"),
        ("x exists: overwrite=True replaces it", "x exists: --overwrite replaces it"),
        ("use segmenter='graphcut', which", "use --segmenter graphcut, which"),
        ("or device='cpu'.", "or --device cpu."),
        ("set loop.lam=0.5: more", "set --loop.lam 0.5: more"),
        # Values, and words that are no option of the command.
        ("no object 'mask' here", "no object 'mask' here"),
        ("prompt for 'box' in 'view.png'", "prompt for 'box' in 'view.png'"),
        ("no view is called 'points'", "no view is called 'points'"),
        ("the mask and the box", "the mask and the box"),
        ("a 'mesh.cell_size' above 0", "a 'mesh.cell_size' above 0"),
        ("invalid object name 'text'", "invalid object name 'text'"),
        ("the file a=b.png, or colour=3", "the file a=b.png, or colour=3"),
    ],
)
def test_options_are_named_by_their_flags(message, printed):
    assert with_flags(message, Segment) == printed


def test_a_flag_that_is_on_by_default():
    assert with_flags("or refine=False", export_command("masks")) == "or --no-refine"


def test_the_names_are_translated_where_the_command_runs():
    def act(_):
        raise SA3DError("give 'view'")

    line = ["--load-config", "c", "--output", "o"]
    with pytest.raises(SA3DError, match="give --view"):
        run(act, Segment, line, "sa3d segment", "")
