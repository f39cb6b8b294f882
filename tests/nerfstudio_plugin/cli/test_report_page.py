"""The page of ``sa3d report``, in a real browser."""

import json
import shutil

import pytest

QUICK = ("--max-views", "5", "--doubt-views", "2", "--turntable-frames", "3")
SMALL = ("--turntable-side", "32")


@pytest.fixture
def page_file(command_line, ball):
    """A report of the ball, with a point cloud exported beside the segmentation."""
    command_line.succeeds("export", "pointcloud", "--segmentation", ball, "--output", "ball.ply")
    out = command_line.succeeds(
        "report",
        "--segmentation",
        ball,
        "--output",
        "page.html",
        *QUICK,
        *SMALL,
        "--json",
        "r.json",
    )
    assert "report: page.html" in out
    return command_line.folder / "page.html"


@pytest.fixture(scope="module")
def browser():
    """A Chromium without a screen."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


def opened(browser, path, width):
    """Open the page in a window of some width; collect its requests and its errors."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    troubles = []

    def asked(request):
        if request.url != path.as_uri() and not request.url.startswith("data:"):
            troubles.append(request.url)

    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", asked)
    page.goto(path.as_uri())
    return page, troubles


def test_requests_and_errors_of_a_page_are_noticed(browser, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text("<img src='other.png'><script>console.log('a'); nothing();</script>")
    page, troubles = opened(browser, path, 400)
    page.wait_for_load_state()
    assert (tmp_path / "other.png").as_uri() in troubles
    assert "a" in troubles
    assert any("nothing is not defined" in trouble for trouble in troubles)
    page.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_loads_nothing_else(browser, page_file, width):
    page, troubles = opened(browser, page_file, width)
    page.wait_for_function("[...document.images].every((image) => image.complete)")
    pictures = page.locator("section img")
    sizes = pictures.evaluate_all("(all) => all.map((image) => image.naturalWidth)")
    assert len(sizes) == 1 + 1 + 5 + 2  # prompt, turntable, masks, doubt: no view was rejected
    assert min(sizes) > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert troubles == []
    page.close()


def test_tables_match_the_report(browser, page_file, ball):
    page, _ = opened(browser, page_file, 1280)
    (one,) = json.loads((ball / "results.json").read_text())["objects"]
    rows = page.locator("table.rounds tbody tr")
    assert rows.count() == len(one["rounds"])
    first = rows.first.locator("td").all_inner_texts()
    assert first[:3] == [str(one["rounds"][0][key]) for key in ("round", "accepted", "rejected")]
    page.locator("summary").click()
    assert page.locator("details tbody tr").count() == len(one["views"])
    assert page.locator(".verdict").inner_text().endswith(one["verdict"])
    files = page.locator("table.files tbody tr")
    assert files.count() == 1
    assert "ball.ply" in files.inner_text()
    manifest = json.loads((page_file.parent / "page.html.manifest.json").read_text())
    assert manifest["source"]["checkpoint_sha256"] in page.locator("dl.source").inner_text()
    page.close()


def test_pictures_enlarge(browser, page_file):
    page, troubles = opened(browser, page_file, 1280)
    small = page.locator(".masks .zoom").first
    large = page.locator("dialog img")
    assert not large.is_visible()
    small.click()
    assert large.is_visible()
    source = small.locator("img").get_attribute("src")
    assert large.get_attribute("src") == source
    assert large.bounding_box()["width"] > 2 * small.bounding_box()["width"]
    page.keyboard.press("ArrowRight")
    assert large.get_attribute("src") != source
    page.locator("dialog button").click()
    assert not large.is_visible()
    small.click()
    page.keyboard.press("Escape")
    assert not large.is_visible()
    assert troubles == []
    page.close()


def test_a_report_is_replaced_with_overwrite_only(command_line, ball):
    report = ("report", "--segmentation", ball, "--no-turntable", *QUICK)
    command_line.succeeds(*report, "--output", "page.html")
    first = (command_line.folder / "page.html").read_text()
    assert "image/webp" not in first
    assert "--overwrite" in command_line.refuses(*report, "--output", "page.html")
    command_line.succeeds(*report, "--output", "page.html", "--overwrite")
    assert "written as .html" in command_line.refuses(*report, "--output", "page.pdf")
    wrong = ("report", "--segmentation", ball, "--output", "b.html", "--turntable-side", "0")
    assert "--turntable-side must be at least 1, is 0" in command_line.refuses(*wrong)
    assert not (command_line.folder / "b.html").exists()
