"""Thresholds of output that a marker loosens: only for a reason, which stays in the baseline and shows in reports."""

from __future__ import annotations

import msgspec
import pytest

from pytest_diffbench.commands.main import main
from pytest_diffbench.records import Thresholds
from pytest_diffbench.report import session_json
from pytest_diffbench.store import Store

pytestmark = pytest.mark.usefixtures("real_libraries")

TEST_FILE = """
import pytest
from PIL import Image

def paint():
    image = Image.new("RGB", (64, 64), ({shade}, 0, 0))
    image.putpixel((0, 0), (0, 255, 0))
    return [image]

{marker}
def test_paint(diffbench):
    diffbench(paint)
"""


def run(pytester: pytest.Pytester, *arguments: str, shade: int = 200, marker: str = "") -> pytest.RunResult:
    pytester.makepyfile(test_paint=TEST_FILE.format(shade=shade, marker=marker))
    return pytester.runpytest_inprocess("--diffbench-rounds=1", "--diffbench-json=session.json", *arguments)


def history(pytester: pytest.Pytester) -> list[tuple[str, float, float, str]]:
    store = Store(pytester.path / "baselines")
    (folder,) = store.entries()
    kept = store.load(folder).baseline.tolerances
    return [(change.limit, change.before, change.after, change.reason) for change in kept]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ('tolerance={"psnr_db": 35}', "loosens thresholds of output (psnr_db 40 -> 35) without a reason"),
        ('tolerance={"psnr": 35}, reason="x"', "has no threshold 'psnr'"),
        ('tolerance=35, reason="x"', "is a dict of thresholds"),
        ('reason="x"', "explains no tolerance"),
    ],
)
def test_an_impossible_tolerance_stops_the_session(pytester: pytest.Pytester, arguments: str, words: str) -> None:
    result = run(pytester, "--diffbench", marker=f"@pytest.mark.diffbench({arguments})")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in result.stderr.str()


def test_stricter_needs_no_reason(pytester: pytest.Pytester) -> None:
    marker = '@pytest.mark.diffbench(tolerance={"psnr_db": 50})'
    run(pytester, "--diffbench-save", marker=marker).assert_outcomes(passed=1)
    assert history(pytester) == [("psnr_db", 40.0, 50.0, "stricter, which needs no reason")]


def test_a_stored_session_is_judged_again_by_the_thresholds_of_the_tests(pytester: pytest.Pytester) -> None:
    marker = (
        '@pytest.mark.diffbench(tolerance={"psnr_db": 30, "colour_levels": 9, "p999_levels": 9}, reason="on purpose")'
    )
    run(pytester, "--diffbench-save", marker=marker).assert_outcomes(passed=1)
    run(pytester, "--diffbench", "--diffbench-images=kept", shade=206, marker=marker).assert_outcomes(passed=1)
    arguments = ["judge", "session.json", "baselines", "--images", "kept", "--gates", "output"]
    assert main(arguments) == 0
    session = session_json.load(pytester.path / "session.json")
    (case,) = session.cases
    assert case.thresholds.tolerance["psnr_db"] == 30
    by_default = msgspec.structs.replace(case, thresholds=Thresholds())
    session_json.write(pytester.path / "session.json", msgspec.structs.replace(session, cases=(by_default,)))
    assert main(arguments) == 1
