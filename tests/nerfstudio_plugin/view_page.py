"""``sa3d view`` as a person uses it: a process, a browser, a pointer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerfstudio_plugin.runs.cameras import Camera

SECOND = 1000
LONG = 600 * SECOND
"""A slow machine may take this long, in milliseconds; a quick one is not kept waiting."""

WEBGL = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--ignore-gpu-blocklist")


@dataclass(frozen=True)
class Pictures:
    """Folder for screenshots, their size, and how long the page may become finer before each.

    A page drawn by software takes all the time it gets, the more the larger it is.
    """

    folder: Path
    size: tuple[int, int] = (900, 640)
    linger_ms: int = 0


@contextmanager
def view_server(*options: object, cwd: Path) -> Iterator[str]:
    """A running ``sa3d view``; gives its address, and ends it."""
    command = [str(Path(sys.executable).parent / "sa3d"), "view", "--no-open-browser", "--port"]
    command += ["7300", *(str(option) for option in options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
    log = (cwd / "view.log").open("w+")
    process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 180
        while (found := re.search(r"viewer: (http\S+)", (cwd / "view.log").read_text())) is None:
            assert process.poll() is None, (cwd / "view.log").read_text()
            assert time.monotonic() < until, (cwd / "view.log").read_text()
            time.sleep(0.2)
        yield found[1]
    finally:
        process.kill()
        process.wait()
        log.close()


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium that draws 3D by software."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(WEBGL)
        )
        yield started
        started.close()


class ViewPage:
    """One tab on the viewer."""

    def __init__(self, browser: Any, url: str, pictures: Pictures) -> None:
        """Open the page and wait until the scene is prepared.

        Args:
            pictures: where pictures of the page go.
        """
        width, height = pictures.size
        self.page = browser.new_page(viewport={"width": width, "height": height})
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self._pictures = pictures
        self.page.goto(url, wait_until="domcontentloaded")
        self.field("Pointer").wait_for(timeout=LONG)

    def says(self, text: str, timeout: float = LONG) -> None:
        """Wait until a text is on the page."""
        self.page.get_by_text(text).first.wait_for(timeout=timeout)

    def press(self, button: str) -> None:
        """Press a button, once it can be."""
        self.page.get_by_role("button", name=button, exact=True).click(timeout=LONG)

    def field(self, label: str) -> Any:
        """The input beside a label."""
        row = f"//label[text()='{label}']/ancestor::div[2]"
        return self.page.locator(f"xpath={row}").locator("input").first

    def type(self, label: str, text: str) -> None:
        """Type into a text field."""
        self.field(label).fill(text)
        self.field(label).press("Tab")

    def tick(self, label: str) -> None:
        """Tick a box."""
        self.field(label).check()

    def choose(self, label: str, option: str) -> None:
        """Choose from a list."""
        self.field(label).click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def value(self, label: str) -> str:
        """Return the value of a field."""
        return self.field(label).input_value()

    def holds(self, label: str, value: str) -> None:
        """Wait until a field holds a value."""
        until = time.monotonic() + LONG / SECOND
        while (found := self.value(label)) != value:
            assert time.monotonic() < until, f"{label} is still {found!r}"
            self.page.wait_for_timeout(100)

    def open_folder(self, name: str) -> None:
        """Open a folder of the panel."""
        self.page.get_by_text(name, exact=True).click()

    def on_screen(self, camera: Camera, xy_px: tuple[float, float]) -> tuple[float, float]:
        """Return the position on the page of a pixel of the photo whose camera the browser uses."""
        canvas = self.page.locator("canvas[data-engine]").bounding_box()
        tall = camera.height / 2 / camera.fy
        wide = camera.width / 2 / camera.fx / (canvas["width"] / canvas["height"])
        scale = canvas["height"] / 2 / max(tall, wide)
        x = (xy_px[0] + 0.5 - camera.cx) / camera.fx * scale
        y = (xy_px[1] + 0.5 - camera.cy) / camera.fy * scale
        middle = canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2
        return middle[0] + x, middle[1] + y

    def click(self, camera: Camera, xy_px: tuple[float, float]) -> None:
        """Click on a pixel of the photo whose camera the browser uses."""
        self.page.mouse.click(*self.on_screen(camera, xy_px))

    def drag(self, camera: Camera, start_px: tuple[float, float], end_px: tuple[float, float]):
        """Drag from one pixel of the photo to another."""
        start, end = self.on_screen(camera, start_px), self.on_screen(camera, end_px)
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, steps=3)
        self.page.mouse.move(*end, steps=3)
        self.page.mouse.up()

    def color_at(self, camera: Camera, xy_px: tuple[float, float]) -> tuple[int, int, int]:
        """Return the mean color of the page around a pixel of the photo."""
        import io

        from PIL import Image

        x, y = self.on_screen(camera, xy_px)
        clip = {"x": x - 3, "y": y - 3, "width": 6, "height": 6}
        shot = Image.open(io.BytesIO(self.page.screenshot(clip=clip))).convert("RGB")
        return tuple(shot.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)))

    def wait_for_color(self, camera: Camera, xy_px: tuple[float, float], test: Any) -> None:
        """Wait until the page shows a color that passes a test at a pixel of the photo."""
        until = time.monotonic() + LONG / SECOND
        while not test(color := self.color_at(camera, xy_px)):
            assert time.monotonic() < until, f"still {color}"
            self.page.wait_for_timeout(300)

    def picture(self, name: str) -> Path:
        """Take a picture of the page."""
        path = self._pictures.folder / f"{name}.jpg"
        self.page.wait_for_timeout(1000 + self._pictures.linger_ms)
        self.page.screenshot(path=path, type="jpeg", quality=85)
        return path
