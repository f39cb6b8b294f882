"""``sa3d view``: Nerfstudio's viewer on a trained run, with the panel to segment in it."""

from __future__ import annotations

import ipaddress
import secrets
import sys
import threading
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nerfstudio_plugin.cli.options import RunOptions, SettingsOptions, run
from nerfstudio_plugin.cli.terminal import OUT
from nerfstudio_plugin.runs.devices import torch_device
from sa3d.base.errors import SA3DError
from sa3d.detectors.loading import check_detector
from sa3d.segmenters.loading import check_segmenter

_HELP = """Open a trained scene in Nerfstudio's viewer, click objects, and get them in 3D.

Any trained run works; nothing has to be prepared or trained first. The page listens on this
computer only: to reach it from another one, forward the port (ssh -L 7007:127.0.0.1:7007 HOST) or
give --host 0.0.0.0: then whoever has the URL that is printed, with its token, can use it. The panel
saves and exports to --output-dir only.

examples:
  sa3d view --load-config outputs/room/nerfacto/RUN/config.yml
  sa3d view --load-config RUN/config.yml --segmentation segmentations/mug    (continues it)
  sa3d view --load-config RUN/config.yml --segmenter sam2.1-tiny --port 7010
  sa3d view --demo room                                (a scene that comes with the program)
"""


@dataclass(kw_only=True)
class View(SettingsOptions, RunOptions):
    """Click objects in the viewer and get them in 3D."""

    load_config: Path | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """The run's config.yml, as written by ns-train, or a folder above it: the newest run there."""
    demo: Literal["room", "garden"] | None = None
    """Instead of a run: a scene that comes with the program, room or garden."""
    segmentation: Path | None = None
    """Folder of the session: opened if it exists, and written by Save; segmentations/viewer in
    --output-dir by default."""
    output_dir: Path | None = None
    """The panel saves and exports below this folder only, and --segmentation; the run's folder by
    default."""
    detector: str = "auto"
    """The detector that finds objects named in words; auto takes one whose weights are on this
    machine, if any."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other computers in, with the URL that is printed."""
    port: int = 7007
    """Port to listen on; the next free one if it is taken."""
    open_browser: bool = True
    """Show the page in a browser at once, where there is one."""


def main(arguments: Sequence[str]) -> None:
    """Run ``sa3d view``.

    Raises:
        SA3DError: a problem that the user can solve.
    """
    run(_run, View, arguments, "sa3d view", _HELP)


def _run(command: View) -> None:
    if (command.load_config is None) == (command.demo is None):
        raise SA3DError("name a trained run with --load-config, or a scene with --demo room")

    check_segmenter(command.settings.segmenter)
    check_detector(command.detector)
    device = torch_device(command.device)
    load_config, data = command.load_config, command.data
    if command.demo is not None:
        from nerfstudio_plugin.demo.data import open_demo

        demo = open_demo(command.demo)
        load_config, data = demo.load_config, demo.folder
        command.cache_dir = command.cache_dir or Path("demo_output/cache")
        command.output_dir = command.output_dir or Path("demo_output")
    from nerfstudio.configs.base_config import ViewerConfig

    from nerfstudio_plugin.train.serving import serve
    from nerfstudio_plugin.viewer.panel import DEFAULT_FOLDER
    from nerfstudio_plugin.viewer.server_guard import TOKEN_KEY

    assert load_config is not None
    session = command.segmentation
    token = "" if _is_loopback(command.host) else secrets.token_urlsafe(24)
    viewer = serve(
        load_config,
        data,
        device,
        command.settings,
        command.cache_dir,
        DEFAULT_FOLDER if session is None else session.resolve(),
        command.output_dir,
        command.detector,
        ViewerConfig(websocket_host=command.host, websocket_port_default=command.port),
        token,
        command.load_step,
        command.fields,
    )
    url = f"http://{command.host}:{viewer.viser_server.get_port()}"
    if token:
        url += f"/?{TOKEN_KEY}={token}"
    OUT.print(f"viewer: {url}   (Ctrl-C ends it)")
    sys.stdout.flush()
    if command.open_browser:
        webbrowser.open(url)
    threading.Event().wait()


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
