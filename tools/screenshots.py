"""Takes the pictures that the pages of `docs/` show, with a headless Chromium.

    python tools/screenshots.py [FOLDER]

Writes five pictures of a report (`report-*.png`), `comment.png`, the comment on a pull request as Markdown shows it,
and `terminal.png`, a session that is red since a pipeline ignores its truncation, of less than 300 kB each. Needs
chromium, chromedriver, selenium, markdown-it-py and rich.
"""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "report"), str(ROOT / "tests" / "helpers")]  # the session of the tests

import html_factories  # noqa: E402  # found there

from pytest_diffbench.report import comment  # noqa: E402  # after its records
from pytest_diffbench.report.html import page  # noqa: E402
from pytest_diffbench.store.pictures import keep  # noqa: E402

_MOST_BYTES = 300_000

_STYLE = """
body { font: 14px/1.5 system-ui, "Liberation Sans", sans-serif; color: #1f2328; margin: 24px; }
article { border: 1px solid #d1d9e0; border-radius: 6px; padding: 12px 20px; }
table { border-collapse: collapse; font-size: 14px; margin-bottom: 12px; }
td, th { border: 1px solid #d1d9e0; padding: 5px 12px; }
tr:nth-child(2n) { background: #f6f8fa; } summary { margin: 8px 0; } a { color: #0969da; }
code { background: #eff1f3; border-radius: 6px; padding: 2px 5px; font-size: 85%; }
h3 { font-size: 19px; margin: 8px 0; }
pre { background: #f6f8fa; border-radius: 6px; padding: 12px; overflow: auto; }
pre code { background: none; padding: 0; }
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Shot:
    """A picture: of which case, in which view, and how large; the overview where no case is named."""

    name: str
    case: str = ""
    view: str = ""
    width_px: int = 1280
    height_px: int = 900
    dark: bool = False
    scroll_px: int = 0


SHOTS = (
    Shot("report-overview", height_px=1040),
    Shot("report-case", "test_cfg_trunc[0.5]", "all", height_px=1390),
    Shot("report-kinds", "test_every_kind", "all", height_px=1180),
    Shot("report-dark", "test_cfg_trunc[0.5]", "swipe", height_px=1000, dark=True, scroll_px=730),
    Shot("report-phone", "test_tiled_decode", width_px=390, height_px=844),
    Shot("comment", width_px=1100, height_px=800),
    Shot("terminal", width_px=900, height_px=925),
)

_TERMINAL_STYLE = """
body { margin: 0; background: #0d1117; }
pre { font: 14px/1.4 "DejaVu Sans Mono", monospace; color: #d0d7de; padding: 16px 20px; margin: 0; }
"""

_TERMINAL_TEST = """
import os
import pytest

@pytest.mark.diffbench(model="lumina2", rounds=3)
def test_truncation(diffbench, diffbench_pipeline):
    call = dict(num_inference_steps=8, cfg_trunc_ratio=0.5, cfg_normalization=False)
    from broken_pipelines import planted
    with planted(os.environ.get("FAULT"), diffbench_pipeline):
        diffbench(diffbench_pipeline, "a large red circle on a blue background", **call)
"""

_SLUG = """
const named = row => row.querySelector(".name").textContent === arguments[0];
return [...document.querySelectorAll("#list li")].find(named).dataset.slug;
"""


def main() -> int:
    """Make the page, take the pictures."""
    from selenium import webdriver

    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    options: Any = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    driver: Any = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary)
            address = page.write(path / "report.html", [html_factories.gallery().source()]).as_uri()
            addresses = {"comment": _comment_page(path), "terminal": _terminal_page(path)}
            for shot in SHOTS:
                data = _taken(driver, addresses.get(shot.name, address), shot)
                (folder / f"{shot.name}.png").write_bytes(data)
                print(f"{shot.name}.png {len(data) / 1e3:.0f} kB")
                if len(data) > _MOST_BYTES:
                    return 1
    finally:
        driver.quit()
    return 0


def _comment_page(folder: Path) -> str:
    """A comment, rendered, with its thumbnails; gives the page's address."""
    from markdown_it import MarkdownIt

    gallery = html_factories.gallery()
    for report in gallery.session.cases:
        now, output = gallery.sides[report.observation.case.id].now, report.observation.output
        if output is not None and now.images and not output.parts:
            keep(folder / "kept", output, now)
    served = "https://example.org/report/"
    text = comment.body(gallery.session, comment.Links(served))
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    rendered = rendered.replace(served, f"{folder.as_uri()}/")
    (folder / "comment.html").write_text(f"<style>{_STYLE}</style><article>{rendered}</article>", encoding="utf-8")
    return (folder / "comment.html").as_uri()


def _terminal_page(folder: Path) -> str:
    """A session that is red, as a terminal shows it; gives the page's address."""
    from rich.console import Console
    from rich.terminal_theme import DIMMED_MONOKAI
    from rich.text import Text

    project = folder / "project"
    project.mkdir()
    (project / "test_lumina2.py").write_text(_TERMINAL_TEST, encoding="utf-8")
    (project / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    paths = [str(ROOT), str(ROOT / "tests" / "helpers"), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "pytest", "-q", "--color=yes", "--diffbench-gates=work,guidance,output"]
    words += ["-W", "ignore"]
    subprocess.run([*words, "--diffbench-save"], cwd=project, env=variables, check=True, capture_output=True)
    red = subprocess.run(
        [*words, "--diffbench"],
        cwd=project,
        env=variables | {"FAULT": "ratio_ignored"},
        check=False,
        capture_output=True,
        text=True,
    )
    console = Console(record=True, file=io.StringIO(), width=100)
    console.print("[bold green]$[/] pytest --diffbench")
    console.print(Text.from_ansi(red.stdout))
    rendered = console.export_html(inline_styles=True, theme=DIMMED_MONOKAI, code_format="<pre>{code}</pre>")
    (folder / "terminal.html").write_text(f"<style>{_TERMINAL_STYLE}</style>{rendered}", encoding="utf-8")
    return (folder / "terminal.html").as_uri()


def _taken(driver: Any, address: str, shot: Shot) -> bytes:
    metrics = {"width": shot.width_px, "height": shot.height_px, "deviceScaleFactor": 1, "mobile": False}
    scheme = {"name": "prefers-color-scheme", "value": "dark" if shot.dark else "light"}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.get("about:blank")
    driver.get(address)
    if shot.case:
        slug = driver.execute_script(_SLUG, shot.case)
        driver.execute_script("location.hash = arguments[0]", f"case={slug}&view={shot.view}")
    loaded = "return [...document.images].filter(image => image.offsetWidth).every(image => image.complete)"
    end_s = time.monotonic() + 20
    while not driver.execute_script(loaded) and time.monotonic() < end_s:
        time.sleep(0.05)
    driver.execute_script("scrollTo(0, arguments[0])", shot.scroll_px)
    time.sleep(0.3)  # pictures are decoded after they are complete
    with Image.open(io.BytesIO(driver.get_screenshot_as_png())) as image:
        colours = image.convert("RGB")
    buffer = io.BytesIO()
    colours.save(buffer, format="PNG", optimize=True)
    if buffer.tell() > _MOST_BYTES:
        buffer = io.BytesIO()
        colours.quantize(256, method=Image.Quantize.FASTOCTREE).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main())
