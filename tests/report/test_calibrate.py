"""`diffbench calibrate`: the proposal from evidence, its table, and the whole command on a real target."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
from typing import Any

import judge_factories as make
import pytest
import returned_parts as returned

from pytest_diffbench.commands import calibrate
from pytest_diffbench.commands import main as cli
from pytest_diffbench.commands.calibrate import UNCHANGED, Evidence, lines, proposed, settings_of, written
from pytest_diffbench.errors import DiffbenchError
from pytest_diffbench.judge.output.loosening import checked, looser_than_default
from pytest_diffbench.outputs.kinds import KINDS
from pytest_diffbench.records.artifacts import Artifacts, Reference

EQUAL = Evidence(
    setting=UNCHANGED,
    figures={
        "psnr_db": None, "p999_levels": 0, "tile_p99_levels": 0, "ssim": 1.0, "tile_ssim": 1.0, "colour_levels": 0.0,
        "seam_levels": 0.0, "hash_bits": 0, "trace_first_rel": 0.0, "latents_rel": 0.0,
    },
)  # fmt: skip
FAR = Evidence(
    setting="dtype bfloat16",
    figures={
        "psnr_db": 33.2, "p999_levels": 30, "tile_p99_levels": 21, "ssim": 0.97, "tile_ssim": 0.85,
        "colour_levels": 1.5, "seam_levels": 0.4, "hash_bits": 4, "trace_first_rel": 0.0071, "latents_rel": 0.031,
    },
    parted="text/text_encoder/0",
)  # fmt: skip


def test_agreeing_runs_need_nothing() -> None:
    proposal = proposed("a case", [EQUAL, EQUAL], 3.0)
    assert (proposal.tolerance, proposal.marker) == ({}, "")
    assert "no tolerance is needed" in lines(proposal)[-1]


def test_a_proposal_is_the_worst_with_a_margin_where_the_default_is_not_enough() -> None:
    proposal = proposed("a case", [EQUAL, FAR], 3.0)
    assert proposal.tolerance == {
        "psnr_db": 30, "p999_levels": 42.4, "tile_p99_levels": 29.7, "ssim": 0.95, "tile_ssim": 0.78,
        "colour_levels": 2.2, "hash_bits": 6, "latents_rel": 0.044, "trace_first_rel": 0.011,
    }  # fmt: skip
    assert checked(proposal.tolerance)
    assert len(looser_than_default(list(proposal.tolerance.items()))) == len(proposal.tolerance)
    assert proposal.marker.endswith('reason="calibrated over 2 runs: as it is, dtype bfloat16"')


def test_requested_metrics_of_other_packages_have_a_column_and_a_threshold() -> None:
    far = Evidence(setting="2 threads", figures={"psnr_db": 33.2, "flip": 0.031, "ssimulacra2": 71.3, "lpips": 0.9})
    proposal = proposed("a case", [far], 6.0)
    assert proposal.tolerance == {"psnr_db": 27, "flip": 0.062, "ssimulacra2": 42, "lpips": 1.8}
    heads, row = lines(proposal)[1:3]
    assert "FLIP" in heads
    assert row.split()[-6:] == ["0.0310", "71.3", "0.9000", "-", "-", "-"]
    assert "FLIP" not in lines(proposed("a case", [FAR], 3.0))[1]


def test_a_video_has_separate_columns_and_thresholds() -> None:
    equal = Evidence(setting=UNCHANGED, figures={"video_psnr_db": None, "video_frozen_frames": 0, "video_ssim": 1.0})
    far = Evidence(
        setting="dtype bfloat16",
        figures={"video_psnr_db": 33.2, "video_frozen_frames": 2, "video_ssim": 0.97, "video_flicker_levels": 1.2},
    )
    proposal = proposed("a case", [equal, far], 3.0)
    assert proposal.tolerance == {
        "video_psnr_db": 30,
        "video_ssim": 0.95,
        "video_flicker_levels": 1.7,
        "video_frozen_frames": 3,
    }
    assert checked(proposal.tolerance)
    heads, _, row = lines(proposal)[1:4]
    assert "frozen frames" in heads
    assert "hash" not in heads
    assert row.split()[2:4] == ["33.2", "dB"]


@pytest.mark.parametrize("kind", ["video", "audio", "map", "latents"])
def test_parts_are_compared_by_the_metrics_of_their_kind(kind: str) -> None:
    given: dict[str, tuple[str, Any, dict[str, Any]]] = {
        "video": ("frames", returned.film()[None], {}),
        "audio": ("audios", returned.recording()[None], {}),
        "map": ("prediction", returned.depth(), {}),
        "latents": ("0", returned.latents(), {"latents": True}),
    }
    field, content, value = given[kind]

    def reference(values: Any) -> Reference:
        parts = returned.read(field, values, **value)
        stored = make.reference(output=returned.output_of(parts))
        return dataclasses.replace(
            stored, artifacts=lambda: Artifacts(parts=tuple(part.kept.arrays for part in parts), trace=make.trace())
        )

    first = reference(content)
    near = calibrate._compared(UNCHANGED, reference(content), first, ())
    far = calibrate._compared("another way", reference(0.8 * content), first, ())
    names = {metric.name for metric in KINDS[kind].metrics}
    assert near.problem is far.problem is None
    assert names <= near.figures.keys()
    assert near.figures.keys() >= far.figures.keys()
    assert proposed("a case", [near], 3.0).tolerance == {}
    assert proposed("a case", [near, far], 3.0).tolerance.keys() & names
    half = calibrate._compared("half", reference(content[..., : content.shape[-1] // 2]), first, ())
    assert half.problem == "number, kind or shape of the parts differ"


def test_metrics_by_name_or_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DiffbenchError, match=r"needs the package flip-evaluator.*leave flip out of --metrics\.$"):
        calibrate.metrics_asked(["flip"], None)


def test_lpips_needs_weights(real_libraries: None) -> None:
    pytest.importorskip("torchmetrics")
    with pytest.raises(DiffbenchError, match=r"diffbench calibrate: metric lpips needs .* --lpips-backbone FILE\.$"):
        calibrate.metrics_asked(["lpips"], None)


def test_the_table_has_a_row_a_run_and_says_where_the_runs_part() -> None:
    table = lines(proposed("a case", [EQUAL, FAR, Evidence(setting="2 threads", problem="not measured")], 3.0))
    assert table[0] == "a case"
    assert table[2].split()[:4] == ["as", "it", "is", "no"]
    assert table[3].endswith("text/text_encoder/0")
    assert "33.2 dB" in table[3]
    assert table[4].strip() == "2 threads       not measured"


def test_json_holds_the_evidence_and_is_strict() -> None:
    lost = Evidence(setting="odd", figures={"latents_rel": float("inf")})
    plain = json.loads(written([proposed("a case", [FAR, lost], 3.0)]), parse_constant=pytest.fail)
    (case,) = plain["cases"]
    assert case["evidence"][0]["figures"]["psnr_db"] == 33.2
    assert case["evidence"][1]["figures"]["latents_rel"] is None


def test_settings_are_repeated_runs_and_a_run_per_other_way() -> None:
    settings = settings_of(2, ["bfloat16"], ["2"], ["_native_math"])
    assert [setting.name for setting in settings] == [
        UNCHANGED, UNCHANGED, "dtype bfloat16", "2 threads", "attention _native_math",
    ]  # fmt: skip
    assert settings[-1].environment == {"DIFFUSERS_ATTN_BACKEND": "_native_math"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["calibrate"], "TEST"),
        (["calibrate", "--runs=1", "test_it.py"], "at least 2"),
        (["calibrate", "--metrics=flop", "test_it.py"], "is one of flip, ssimulacra2, lpips"),
    ],
)
def test_wrong_usage_is_a_single_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert said in capsys.readouterr().err


def test_a_failing_run_is_reported_with_all_of_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 4, "collected nothing\n", "no such file\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(
        DiffbenchError, match=r"test_it\.py \(as it is\) ended with status 4: collected nothing\nno such"
    ):
        calibrate.calibrate(["test_it.py"], [calibrate.Setting(UNCHANGED)], 3.0, lambda _: None)
