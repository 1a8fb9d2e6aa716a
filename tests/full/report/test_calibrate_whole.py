"""`diffbench calibrate` from its arguments to its proposal, in real processes."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING

import pytest

from pytest_diffbench.commands import main as cli
from pytest_diffbench.outputs.metrics import METRICS

if TYPE_CHECKING:
    from pathlib import Path


PACKAGES: dict[str, str] = {"flip": "flip_evaluator", "ssimulacra2": "ssimulacra2"}


@pytest.mark.pipeline
def test_the_whole_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quick_processes: None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_ADDOPTS", "")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        '@pytest.mark.diffbench(model="lumina2", warmup_rounds=0)\n'
        "def test_it(diffbench, diffbench_pipeline):\n"
        '    diffbench(diffbench_pipeline, "a red circle", num_inference_steps=2, max_sequence_length=64)\n'
    )
    metrics = [name for name, module in PACKAGES.items() if importlib.util.find_spec(module)]
    settings = ["--runs=2", "--dtypes=bfloat16", "--json=evidence.json", f"--metrics={','.join(metrics)}"]
    assert cli.main(["calibrate", *settings, "test_it.py"]) == 0
    (case,) = json.loads((tmp_path / "evidence.json").read_text())["cases"]
    again, half = case["evidence"]
    for name in metrics:
        assert METRICS[name].error(again["figures"][name]) == 0 < METRICS[name].error(half["figures"][name])
    assert again["figures"]["psnr_db"] is None
    assert (half["setting"], half["parted"]) == ("dtype bfloat16", "text/text_encoder/0")
    assert case["tolerance"]["trace_first_rel"] > 1e-4
    assert "to paste into the marker: tolerance={" in capsys.readouterr().out
    assert not (tmp_path / "baselines").exists()


def test_a_failing_run_is_reported_in_the_runs_own_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["calibrate", "--runs=2", str(tmp_path / "nowhere.py")]) == 2
    assert "nowhere.py" in capsys.readouterr().err
