"""What the page of a report costs: 1,000 cases of which 50 fail, made, opened and filtered.

    python benchmarks/report_html.py [--cases 1000] [--failing 50] [--side 512] [--repeats 3]

Prints a Markdown table: time to make the page (best of several, and processor time), its size, and how long a browser
takes to open it and to filter its list, where chromium, chromedriver and selenium are there. Exits with 1 where
it takes more than 5 s to make, more than 1 s to open or to filter, or has more than 40 MB.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "report"), str(ROOT / "tests" / "helpers")]  # the records of the tests

import html_factories  # noqa: E402  # found there

from pytest_diffbench.commands import report as report_command  # noqa: E402  # after its records
from pytest_diffbench.records.artifacts import Reference  # noqa: E402
from pytest_diffbench.report import session_json  # noqa: E402
from pytest_diffbench.report.html import page  # noqa: E402
from pytest_diffbench.store import keep_sides  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_WRITING_S = 5.0
_MOST_SHOWN_S = 1.0
_MOST_BYTES = 40_000_000

_FILTER = """
const began = performance.now(), q = document.getElementById("q");
q.value = "worse";
q.dispatchEvent(new Event("input", {bubbles: true}));
document.body.offsetHeight;
return performance.now() - began;
"""
_OPENED = """
const [entry] = performance.getEntriesByType("navigation");
return entry.loadEventEnd || performance.now();
"""


def main() -> int:
    """Make the page, look at it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--failing", type=int, default=50)
    parser.add_argument("--side", type=int, default=512, help="of the pictures, in pixels")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    gallery = html_factories.many(options.cases, options.failing, options.side)
    sources = [gallery.source()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        took_s, cpu_s = _written(path, sources, options.repeats)
        size_bytes = path.stat().st_size
        shown = _shown(path, options.repeats)
        folder_s, folder_cpu_s = _written(Path(folder) / "page", sources, options.repeats)
        kept_s = _keep(Path(folder), gallery)
        read_s, read_cpu_s = _read(Path(folder), options.repeats)
    rows = [
        ("made, best of several", f"{took_s:.2f} s"),
        ("made, processor time", f"{cpu_s:.2f} s"),
        ("made as a folder", f"{folder_s:.2f} s"),
        ("made as a folder, processor time", f"{folder_cpu_s:.2f} s"),
        ("made by `diffbench report`, files read too", f"{read_s:.2f} s"),
        ("made by `diffbench report`, processor time", f"{read_cpu_s:.2f} s"),
        ("a picture kept by a session, processor time", f"{1e3 * kept_s:.0f} ms"),
        ("size", f"{size_bytes / 1e6:.1f} MB"),
        *((name, f"{value_s:.2f} s") for name, value_s in shown.items()),
    ]
    print(
        f"{options.cases:,} cases, {options.failing} of them worse, pictures of {options.side} x {options.side} px:\n"
    )
    print("| what | figure |\n|:---|---:|")
    print("\n".join(f"| {name} | {figure} |" for name, figure in rows))
    if not shown:
        print("\nNot opened: chromium, chromedriver and selenium are needed for that.")
    within = took_s <= _MOST_WRITING_S and size_bytes <= _MOST_BYTES
    return 0 if within and all(value_s <= _MOST_SHOWN_S for value_s in shown.values()) else 1


def _written(path: Path, sources: Sequence[page.SessionSource], repeats: int) -> tuple[float, float]:
    """Wall and processor time of the quickest of several."""
    times: list[tuple[float, float]] = []
    for _ in range(repeats):
        began_s, cpu_began_s = time.perf_counter(), time.process_time()
        page.write(path, sources)
        times.append((time.perf_counter() - began_s, time.process_time() - cpu_began_s))
    return min(times)


def _keep(folder: Path, gallery: html_factories.Gallery) -> float:
    """Store results as a session does; gives the processor time of a picture, of those that differ."""
    session_json.write(folder / "session.json", gallery.session)
    taken_s, pictures = 0.0, 0
    for report in gallery.session.cases:
        sides = gallery.sides[report.observation.case.id]
        assert sides.baseline is not None
        reference = Reference(sides.baseline, "machine", "", lambda base=sides.base: base)  # type: ignore[misc]
        began_s = time.process_time()
        keep_sides(folder / "images", report.observation, sides.now, reference)
        took_s = time.process_time() - began_s
        written = len(list((folder / "images").glob("*.png"))) - pictures
        taken_s += took_s if written else 0.0
        pictures += written
    return taken_s / pictures


def _read(folder: Path, repeats: int) -> tuple[float, float]:
    """Wall and processor time of the command on stored results, the quickest of several."""
    words = [str(folder / "session.json"), "--images", str(folder / "images"), "-o", str(folder / "read.html")]
    parser = argparse.ArgumentParser()
    report_command.add_arguments(parser)
    times: list[tuple[float, float]] = []
    for _ in range(repeats):
        began_s, cpu_began_s = time.perf_counter(), time.process_time()
        report_command.report(parser.parse_args(words))
        times.append((time.perf_counter() - began_s, time.process_time() - cpu_began_s))
    return min(times)


def _shown(path: Path, repeats: int) -> dict[str, float]:
    """How long a browser takes, the quickest of several; empty where there is none."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    chromedriver = shutil.which("chromedriver")
    try:
        from selenium import webdriver
    except ImportError:
        return {}
    if chromium is None or chromedriver is None:
        return {}
    options: Any = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    opened_s: list[float] = []
    filtered_s: list[float] = []
    try:
        for _ in range(repeats):
            driver.get("about:blank")
            driver.get(path.as_uri())
            opened_s.append(driver.execute_script(_OPENED) / 1e3)
            filtered_s.append(driver.execute_script(_FILTER) / 1e3)
    finally:
        driver.quit()
    return {"opened": min(opened_s), "filtered": min(filtered_s)}


if __name__ == "__main__":
    sys.exit(main())
