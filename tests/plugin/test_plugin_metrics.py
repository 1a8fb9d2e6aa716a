"""`--diffbench-metrics`: what is asked for and can't be had stops the session; what can be is judged and shown."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.outputs.metrics import METRICS
from pytest_diffbench.report import session_json

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.usefixtures("real_libraries")

TEST_FILE = """
import numpy as np
import pytest
from PIL import Image

def paint():
    shade = np.random.default_rng(0).integers(100, 140, (64, 64, 3))
    return [Image.fromarray((shade + {more}).astype(np.uint8))]

{marker}
def test_paint(diffbench):
    print("it runs")
    diffbench(paint)
"""

PACKAGES = {"flip": "flip-evaluator", "ssimulacra2": "ssimulacra2", "lpips": "torchmetrics"}


def run(pytester: pytest.Pytester, *arguments: str, more: int = 0, marker: str = "") -> pytest.RunResult:
    pytester.makepyfile(test_paint=TEST_FILE.format(more=more, marker=marker))
    return pytester.runpytest_inprocess("-s", "--diffbench-rounds=1", "--diffbench-json=session.json", *arguments)


def output_verdict(pytester: pytest.Pytester) -> Any:
    (case,) = session_json.load(pytester.path / "session.json").cases
    return next(verdict for verdict in case.verdicts if verdict.gate == "output")


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the packages is installed."""
    find = importlib.util.find_spec
    hidden = {metric.package.module for metric in METRICS.values() if metric.package is not None}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name in hidden else find(name, *more)
    )


@pytest.mark.usefixtures("without_packages")
@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package_is_named_with_the_command_before_anything_runs(
    pytester: pytest.Pytester, name: str
) -> None:
    result = run(pytester, "--diffbench", f"--diffbench-metrics={name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.stderr.lines if "metric" in line]
    assert f"needs the package {PACKAGES[name]}, which isn't installed" in line
    assert f"pip install 'pytest-diffbench[{name}]'" in line
    assert "it runs" not in result.stdout.str()


@pytest.mark.usefixtures("without_packages")
def test_what_is_not_asked_for_is_not_missed(pytester: pytest.Pytester) -> None:
    run(pytester, "--diffbench-save").assert_outcomes(passed=1)
    run(pytester, "--diffbench", more=1).assert_outcomes(passed=1)
    assert not set(PACKAGES) & set(output_verdict(pytester).details.images[0])


@pytest.mark.parametrize("source", ["command line", "marker", "ini file"])
def test_every_source_of_options_can_request_the_metrics(pytester: pytest.Pytester, source: str) -> None:
    pytest.importorskip("flip_evaluator", reason="needs the extra flip")
    marker, arguments = "", ["--diffbench"]
    if source == "command line":
        arguments.append("--diffbench-metrics=flip")
    elif source == "marker":
        marker = "@pytest.mark.diffbench(metrics=['flip'])"
    else:
        pytester.makeini("[pytest]\ndiffbench_metrics = flip")
    run(pytester, "--diffbench-save").assert_outcomes(passed=1)
    run(pytester, *arguments, more=1, marker=marker).assert_outcomes(passed=1)
    assert "flip" in output_verdict(pytester).details.images[0]


def test_an_unknown_name_is_refused(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--diffbench", "--diffbench-metrics=filp")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*is one of flip, ssimulacra2, lpips (did you mean 'flip'[?])*"])


def test_both_are_judged_and_stand_in_every_report(pytester: pytest.Pytester) -> None:
    pytest.importorskip("flip_evaluator", reason="needs the extra flip")
    pytest.importorskip("ssimulacra2", reason="needs the extra ssimulacra2")
    asked = "--diffbench-metrics=flip,ssimulacra2"
    run(pytester, "--diffbench-save", asked).assert_outcomes(passed=1)
    result = run(pytester, "--diffbench", asked, "--junitxml=junit.xml", more=30)
    result.assert_outcomes(failed=1)
    shown = result.stdout.str()
    assert "FLIP" in shown
    assert "SSIMULACRA2" in shown
    verdict = output_verdict(pytester)
    sentences = " ".join((verdict.message, *verdict.changes))
    assert "FLIP " in sentences
    assert "SSIMULACRA2 " in sentences
    assert verdict.details.allowed["flip"] == 0.04
    junit = (pytester.path / "junit.xml").read_text()
    assert 'name="diffbench.flip"' in junit
    assert 'name="diffbench.ssimulacra2"' in junit
    plain = json.loads((pytester.path / "session.json").read_text())
    assert plain["settings"]["metrics"] == "flip,ssimulacra2"


def _weights(folder: Path) -> Path:
    import torch

    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    generator = torch.Generator().manual_seed(0)
    weights: dict[str, Any] = {}
    for layer, (channels, before, side) in shapes.items():
        weights[f"features.{layer}.weight"] = torch.randn((channels, before, side, side), generator=generator) / 50
        weights[f"features.{layer}.bias"] = torch.zeros(channels)
    torch.save(weights, folder / "alexnet.pth")
    return folder / "alexnet.pth"


@pytest.mark.full
def test_lpips_runs_on_a_local_backbone_and_allows_nothing_by_itself(pytester: pytest.Pytester) -> None:
    pytest.importorskip("torchmetrics", reason="needs the extra lpips")
    asked = ["--diffbench-metrics=lpips", f"--diffbench-lpips-backbone={_weights(pytester.path)}"]
    run(pytester, "--diffbench-save", *asked).assert_outcomes(passed=1)
    run(pytester, "--diffbench", *asked).assert_outcomes(passed=1)
    run(pytester, "--diffbench", *asked, more=1).assert_outcomes(failed=1)
    assert "(limit 0)" in output_verdict(pytester).message
    marker = "@pytest.mark.diffbench(tolerance={'lpips': 0.5}, reason='measured')"
    run(pytester, "--diffbench", *asked, more=1, marker=marker).assert_outcomes(passed=1)
    assert output_verdict(pytester).details.images[0]["lpips"].value > 0


@pytest.mark.parametrize("file", [None, "missing.pth"])
def test_lpips_without_a_backbone_stops_before_anything_runs(pytester: pytest.Pytester, file: str | None) -> None:
    pytest.importorskip("torchmetrics", reason="needs the extra lpips")
    given = [] if file is None else [f"--diffbench-lpips-backbone={file}"]
    result = run(pytester, "--diffbench", "--diffbench-metrics=lpips", *given)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    words = "*--diffbench-lpips-backbone FILE*" if file is None else "*missing.pth: no weights for LPIPS*"
    result.stderr.fnmatch_lines([words])
    assert "it runs" not in result.stdout.str()
