"""The command ``sa3d``: finds the subcommand, runs it, and prints a problem as one line.

Modules of subcommands import only what their options need; the rest is imported when a subcommand
runs. So help and mistakes are answered at once.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from sa3d.base.errors import SA3DError
from sa3d.base.printable import one_line
from sa3d.base.version import program_version

_OF_THE_USER = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG),
    *(errno.ELOOP, errno.ENOTDIR, errno.EISDIR),
)
"""Errors of the file system that a user can mend; the others are bugs, and keep their traceback."""

COMMANDS = {
    "view": "click objects in Nerfstudio's viewer and get them in 3D",
    "prepare": "evaluate a trained scene once, so that segmenting in it is fast",
    "segment": "segment objects in 3D from points, a box, a mask or words in one view",
    "correct": "add clicks to a finished segmentation; only the views around are visited again",
    "next-view": "rank the views by how much a click in them helps, and say why",
    "objects": "list, rename, add, merge, split or delete a segmentation's objects",
    "export": "write a segmentation as masks, a point cloud or a mesh",
    "render": "render images: mask, overlay, the object alone, or the scene without it",
    "batch": "run many jobs from a file; continues after failures and stops",
    "report": "write one HTML page about a segmentation: prompts, rounds, masks, doubt, files",
    "info": "describe a run, a scene cache or a segmentation",
    "segmenters": "list the 2D segmenters, and those on this machine",
    "benchmark": "measure accuracy, clicks and seconds on frozen scenes and prompts",
    "demo": "segment a scene that comes with the program, and measure the result",
}

_OVERVIEW = """usage: sa3d COMMAND [OPTIONS]

Click an object in one view of a trained Nerfstudio scene and get it in 3D.

commands:
{commands}

  sa3d COMMAND --help   all options of a command, with examples
  sa3d --version

examples:
  sa3d demo --output demo_output
  sa3d view --load-config outputs/room/nerfacto/RUN/config.yml
  sa3d prepare --load-config outputs/room/nerfacto/RUN/config.yml
  sa3d segment --load-config outputs/room/nerfacto/RUN/config.yml \\
      --view 000024.jpg --points 127,207 --output segmentations/ball
  sa3d export mesh --segmentation segmentations/ball --output ball.glb
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sa3d`` and return its exit code.

    0: done. 1: some jobs of a batch, or some of several objects, are not done. 2: a problem that
    the user can solve, printed as one line. 130: stopped with Ctrl-C. 141: the reader of the output
    has ended. 143: terminated.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        lines = "\n".join(f"  {name:<10} {summary}" for name, summary in COMMANDS.items())
        print(_OVERVIEW.format(commands=lines))
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"sa3d {program_version()}")
        return 0
    warnings.filterwarnings("ignore", module="nerfstudio\\.")  # deprecations inside Nerfstudio
    try:
        if arguments[0] not in COMMANDS:
            raise SA3DError(f"unknown command {arguments[0]!r}; there are: {', '.join(COMMANDS)}")
        module = importlib.import_module(f"nerfstudio_plugin.cli.{arguments[0].replace('-', '_')}")
        return module.main(arguments[1:]) or 0
    except SA3DError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of the output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.errno not in _OF_THE_USER:
            raise
        place = f": {error.filename}" if error.filename is not None else ""
        print(f"error: {one_line(f'{error.strerror}{place}')}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what was finished is kept", file=sys.stderr)
        return 130
    return 0
