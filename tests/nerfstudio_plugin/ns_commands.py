"""Runs Nerfstudio's own commands in processes of their own, as users do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from viewer_client import look_through

SCRIPTS = Path(sys.executable).parent
MINUTES = 60


def environment() -> dict[str, str]:
    """One thread, and no compilation: it takes longer than these tiny images."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}


def ns(name: str, *arguments: object, cwd: Path) -> str:
    """Run a command of Nerfstudio; what it printed."""
    command = [str(SCRIPTS / name), *(str(argument) for argument in arguments)]
    done = subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=10 * MINUTES
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done.stdout


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def shown_by_viewer(
    config: Path, position: tuple[float, float, float], output: str, cwd: Path
) -> Any:
    """Open a run in ns-viewer and return its page: see ``look_through``.

    Args:
        output: waited for among the choices.
    """
    port = free_port()
    viewer = subprocess.Popen(
        [
            str(SCRIPTS / "ns-viewer"),
            f"--load-config={config}",
            f"--viewer.websocket-port={port}",
            "--viewer.websocket-host=127.0.0.1",
        ],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert "<html" in _page(viewer, f"http://127.0.0.1:{port}")
        return look_through(port, position, seconds=8 * MINUTES, choice=output)
    finally:
        viewer.terminate()
        viewer.wait(timeout=30)


def _page(process: subprocess.Popen[bytes], url: str) -> str:
    until = time.monotonic() + 10 * MINUTES
    while time.monotonic() < until:
        assert process.poll() is None, "the viewer stopped"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"nothing answered at {url}")
