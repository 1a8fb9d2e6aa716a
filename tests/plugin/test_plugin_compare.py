"""`compare` and `sweep` in a measuring session, with small targets on a clock that only they move."""

from __future__ import annotations

import fnmatch
import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.report import session_json
from pytest_diffbench.report.sentences.saving import saved_text

if TYPE_CHECKING:
    from pytest_diffbench.records import CaseReport, Comparison, SessionReport, VariantReport

pytestmark = pytest.mark.usefixtures("real_libraries", "quick_processes")

HEAD = """
import random, types
import pytest
from PIL import Image
from pytest_diffbench.measure import clock
from pytest_diffbench.measure import pace as machine_pace
from pytest_diffbench.measure import telemetry
from pytest_diffbench.session.variants import Variant

class Clock:
    now_ns = 0
    def __call__(self):
        self.now_ns += 1000
        return self.now_ns

CLOCK, DRAW, CALLS = Clock(), random.Random(1), {}

@pytest.fixture(autouse=True)
def virtual(monkeypatch):
    monkeypatch.setattr(clock, "now_ns", CLOCK)
    # no time by this clock
    monkeypatch.setattr(machine_pace, "_prepared", lambda device, dtype: lambda: {"interpreter": 1e-6})
    monkeypatch.setattr(telemetry, "Waiting", lambda: types.SimpleNamespace(read=lambda: None))

def paint(size=32, shade=200, seconds=0.1, fail_at=None, error=RuntimeError):
    CALLS[shade] = CALLS.get(shade, 0) + 1
    if CALLS[shade] == fail_at:
        raise error("out of paint")
    CLOCK.now_ns += round(seconds * 1e9 * (1 + 0.02 * DRAW.random()))
    image = Image.new("RGB", (size, size), (shade, 0, 0))
    image.putpixel((0, 0), (0, 255, 0))
    return [image]

"""

COMPARE = """
def test_paint(diffbench):
    c = diffbench.compare(paint, variants={"full": {}, "half": {"seconds": HALF_S, "shade": 100}}, seconds=0.1)
    half = c["half"]
    assert c.names == ("full", "half") and c.reference == "full" and len(c) == 2
    assert c["full"].speedup_rel.value == 1
    assert c["full"].image_difference.same_bits
    assert half.speedup_rel.value == pytest.approx(0.1 / HALF_S, rel=0.02)
    assert half.speedup_rel.low > 0.97 * 0.1 / HALF_S
    assert half.result.median_s == pytest.approx(HALF_S, rel=0.03)
    assert half.image_difference.psnr_db < 20
    assert c.blocks == 6 and c.confidence == 0.99
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    # pytest-benchmark switches itself off where it reads this.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    return pytester


def write(project: pytest.Pytester, body: str, half_s: float = 0.05) -> None:
    project.makepyfile(test_paint=HEAD + body.replace("HALF_S", str(half_s)))


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("--diffbench-json=session.json", "--diffbench-gates=output,time", *arguments)


def session(project: pytest.Pytester) -> SessionReport:
    return session_json.load(project.path / "session.json")


def comparison(project: pytest.Pytester) -> Comparison:
    (compared,) = session(project).comparisons
    return compared


def rows(project: pytest.Pytester) -> dict[str, VariantReport]:
    return {variant.name: variant for variant in comparison(project).variants}


def cases(project: pytest.Pytester) -> dict[str, CaseReport]:
    return {case.observation.case.id.partition("#")[2]: case for case in session(project).cases}


def time_verdict(report: CaseReport) -> Any:
    return next(verdict for verdict in report.verdicts if verdict.gate == "time")


def time_reason(report: CaseReport) -> Any:
    return time_verdict(report).reason


def test_every_variant_is_a_case_and_all_are_a_comparison(project: pytest.Pytester) -> None:
    write(project, COMPARE)
    result = run(project, "--diffbench-save", "--junitxml=junit.xml")
    result.assert_outcomes(passed=1)
    assert {name: saved_text(case.saved) for name, case in cases(project).items()} == {
        "full": "created",
        "half": "created",
    }
    compared = comparison(project)
    assert (compared.id, compared.reference, compared.blocks) == ("test_paint.py::test_paint", "full", 6)
    assert rows(project)["half"].case_id == "test_paint.py::test_paint#half"
    assert len(rows(project)["half"].log_ratios) == 6
    ratio = cases(project)["half"].observation.ratio
    assert ratio is not None
    assert ratio.reference == cases(project)["full"].observation.case
    assert cases(project)["full"].observation.ratio is None
    result.stdout.fnmatch_lines(["*variants*interleaved*", "*speed-up (99 %)*", "*half *1.99? (*"])
    root = ET.parse(project.path / "junit.xml").getroot()
    properties = {element.get("name"): element.get("value") for element in root.findall(".//property")}
    assert float(str(properties["diffbench.variant[half].speedup_rel_low"])) > 1.9


@pytest.mark.full
def test_a_different_reference_makes_the_ratio_incomparable(project: pytest.Pytester) -> None:
    body = "def test_paint(diffbench):\n    diffbench.compare(paint, variants="
    body += '{{"full": {{"shade": {}}}, "half": {{"seconds": 0.05}}}}, seconds=0.1)\n'
    write(project, body.format(150))
    run(project, "--diffbench-save").assert_outcomes(passed=1)
    write(project, body.format(160))
    run(project, "--diffbench")
    assert time_reason(cases(project)["half"]) == "time.ratio_reference"
    run(project, "--diffbench-save").assert_outcomes(passed=1)
    run(project, "--diffbench")
    assert time_reason(cases(project)["half"]) == "time.ratio_few_runs"


def test_a_noisy_machine_is_measured_longer(project: pytest.Pytester) -> None:
    body = "def test_paint(diffbench):\n    c = diffbench.compare(paint, variants={'a': {}, 'b': {}})\n"
    body += "    assert c.blocks == 24 and 1 in c['b'].speedup_rel\n"
    project.makepyfile(test_paint=HEAD.replace("0.02 * DRAW", "0.9 * DRAW") + body)
    run(project, "--diffbench", "--diffbench-gates=guidance").assert_outcomes(passed=1)
    body = body.replace("{}})", "{}}, precision_rel=10.0)").replace("24", "6")
    project.makepyfile(test_paint=HEAD.replace("0.02 * DRAW", "0.9 * DRAW") + body)
    run(project, "--diffbench", "--diffbench-gates=guidance").assert_outcomes(passed=1)


def test_a_raising_variant_leaves_the_others_and_fails_the_test(project: pytest.Pytester) -> None:
    body = """
def test_paint(diffbench):
    diffbench.compare(paint, variants={"full": {}, "bad": {"shade": 1, "fail_at": 5}, "half": {"seconds": 0.05}})
"""
    write(project, body)
    result = run(project, "--diffbench-save")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*variant 'bad' raised RuntimeError: out of paint. The others were completed*"])
    result.stdout.fnmatch_lines(["*bad *error*RuntimeError: out of paint*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert rows(project)["bad"].speedup_rel is None
    half = rows(project)["half"].speedup_rel
    assert half is not None
    assert half.low > 1.9
    cases_by_name = cases(project)
    assert cases_by_name["bad"].error == "RuntimeError: out of paint"
    assert 0 < len(cases_by_name["bad"].observation.run.rounds) < 6
    assert len(cases_by_name["half"].observation.run.rounds) == 6
    assert cases_by_name["half"].error is None
    assert not (project.path / "baselines").exists()


def test_a_raising_reference_ends_all(project: pytest.Pytester) -> None:
    body = (
        "def test_paint(diffbench):\n    diffbench.compare(paint, variants={'a': {'fail_at': 5}, 'b': {'shade': 1}})"
    )
    write(project, body)
    result = run(project, "--diffbench")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*'a' raised RuntimeError: out of paint. It is the reference*"])
    assert all(variant.speedup_rel is None for variant in comparison(project).variants)
    assert "the reference 'a' raised" in str(cases(project)["b"].error)


def test_an_interrupt_keeps_what_was_measured(project: pytest.Pytester) -> None:
    body = (
        "def test_paint(diffbench):\n    diffbench.compare(paint, variants={'a': {}, 'b': {'shade': 1, 'fail_at': 5, "
    )
    write(project, body + "'error': KeyboardInterrupt}})")
    with pytest.raises(KeyboardInterrupt):
        run(project, "--diffbench")
    cases_by_name = cases(project)
    assert {name: case.error for name, case in cases_by_name.items()} == {"a": "interrupted", "b": "interrupted"}
    assert all(case.observation.run.rounds for case in cases_by_name.values())
    assert session(project).comparisons == ()


def test_images_of_different_sizes_are_no_crash(project: pytest.Pytester) -> None:
    body = "def test_paint(diffbench):\n    c = diffbench.compare(paint, variants={'a': {}, 'b': {'size': 48}})\n"
    body += "    assert c['b'].image_difference.problem == 'different size: 32 x 32 px, 48 x 48 px'\n"
    write(project, body)
    result = run(project, "--diffbench-save")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*b: output not compared, different size*"])


def test_a_variant_may_have_a_separate_target(project: pytest.Pytester) -> None:
    body = """
def other(size=32, seconds=0.1):
    return paint(size, 90, seconds / 2)

def test_paint(diffbench):
    c = diffbench.compare(paint, variants={"a": {}, "b": Variant({"size": 32}, target=other)}, reference="b")
    assert c["a"].speedup_rel.high < 0.6
    assert c.reference == "b"
"""
    write(project, body)
    run(project, "--diffbench-save").assert_outcomes(passed=1)
    assert {case.observation.case.definition.pipeline for case in session(project).cases} == {"paint", "other"}


@pytest.mark.full
def test_a_comparison_stands_beside_plain_calls_and_other_comparisons(project: pytest.Pytester) -> None:
    body = """
def test_paint(diffbench):
    diffbench(paint, shade=10)
    diffbench.compare(paint, variants={"a": {}, "b": {}})
    diffbench.compare(paint, variants={"a": {}, "b": {}}, label="again")
    diffbench(paint, shade=11, label="plain")
"""
    write(project, body)
    run(project, "--diffbench-save").assert_outcomes(passed=1)
    assert set(cases(project)) == {"", "a", "b", "again:a", "again:b", "plain"}
    assert [compared.id for compared in session(project).comparisons] == [
        "test_paint.py::test_paint",
        "test_paint.py::test_paint#again",
    ]
    run(project, "--diffbench", "-p", "no:benchmark").assert_outcomes(passed=1)
    run(project, "--diffbench", "--benchmark-disable").assert_outcomes(passed=1)


def test_a_sweep_has_a_row_for_every_value(project: pytest.Pytester) -> None:
    body = """
def test_paint(diffbench):
    s = diffbench.sweep(paint, 32, "seconds", [0.1, 0.05, 0.2], shade=7, reference=0.05)
    assert [row.value for row in s.rows] == [0.1, 0.05, 0.2]
    assert s.reference == "0.05" and s["0.1"].speedup_rel.high < 0.6
    assert [row.name for row in s.frontier] == ["0.1", "0.05", "0.2"]  # all images are equal
"""
    write(project, body)
    result = run(project, "--diffbench-save")
    result.assert_outcomes(passed=1)
    assert set(cases(project)) == {"seconds=0.1", "seconds=0.05", "seconds=0.2"}
    assert comparison(project).argument == "seconds"
    result.stdout.fnmatch_lines(["*blocks, seconds*", "*0.05 *reference*"])


BAD = {
    "compare(paint, variants={'a': {}})": "*one variant, 'a': there is nothing to compare. Give two or more*",
    "compare(paint, variants={})": "*no variant: there is nothing to compare*",
    "compare(paint, variants=['a'])": "*variants=[[]'a']. Give names and arguments*",
    "compare(paint, variants={'a': {}, 'b': 3})": "*was given 3 as variant 'b'. Give a dict of arguments*",
    "compare(paint, variants={'a': {}, 'b': {1: 2}})": "*as variant 'b'. Give a dict of arguments*",
    "compare(paint, variants={'a': {}, 'b': {}}, reference='c')": "*reference='c'*Name one of: a, b.",
    "compare(paint, variants={'a': {}, 'b': {'sighs': 3}})": "variant 'b': paint can't be called*'sighs'*",
    "compare(paint, 32, variants={'a': {}, 'b': {'size': 3}})": "variant 'b': paint can't be called*'size'*",
    "compare(paint, variants={'a': {}, 'a#b': {}})": "*named 'a#b'*use one line, without '#'.",
    "compare(paint, variants={'a': {}, 3: {}})": "*named 3. The name becomes part of the case's id*",
    "compare(paint, variants={'a': {}, 'A': {}})": "*named 'a' and 'A', which can't be told apart. Rename one.",
    "compare(paint, variants={'a': {}, 'b': {}}, confidence=99)": "*confidence=99. Give a probability*",
    "compare(paint, variants={'a': {}, 'b': {}}, precision_rel=0)": "*precision_rel=0. Give a positive number*",
    "compare(3, variants={'a': {}, 'b': {}})": "*3, which can't be called*",
    "sweep(paint, 'shade')": "sweep() takes the call's own arguments, then the name of an argument*",
    "sweep(paint, 'shade', [1])": "sweep() was given [[]1] for shade: give two values or more*",
    "sweep(paint, 'shade', [1, 2], shade=3)": "sweep() was given shade=3 and shade to change*",
    "sweep(paint, 'shade', [1, 1])": "sweep() was given 1 for shade more than once*",
    "sweep(paint, 'shade', [1, paint])": "*Use plain values, or compare()*",
    "sweep(paint, 'sighs', [1, 2])": "variant '1': paint can't be called*'sighs'*",
    "sweep(paint, 'shade', [1, 2], reference=3)": "*reference='3'*Name one of: 1, 2.",
}
"""Calls, and patterns of what is said of them, as `fnmatch` takes them."""


def test_bad_input_is_a_single_sentence_before_anything_runs(project: pytest.Pytester) -> None:
    body = f"""
CALLS_ASKED = {list(BAD)!r}

def test_paint(diffbench):
    import json
    from pathlib import Path
    from pytest_diffbench.errors import MeasureError
    told = {{}}
    for call in CALLS_ASKED:
        with pytest.raises(MeasureError) as error:
            eval("diffbench." + call)
        told[call] = str(error.value)
    assert not CALLS
    Path("told.json").write_text(json.dumps(told))
"""
    project.makepyfile(test_paint=HEAD + body)
    run(project, "--diffbench")
    assert session(project).cases == ()
    errors = json.loads((project.path / "told.json").read_text())
    for call, pattern in BAD.items():
        assert fnmatch.fnmatchcase(errors[call], pattern), (call, errors[call])


def test_a_second_comparison_needs_a_label(project: pytest.Pytester) -> None:
    body = "def test_paint(diffbench):\n    for names in ('ab', 'cd'):\n"
    write(project, body + "        diffbench.compare(paint, variants={name: {} for name in names})\n")
    result = run(project, "--diffbench")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*has already been compared*needs its own label*"])


def test_an_unknown_variant_is_named_with_the_known_variants(project: pytest.Pytester) -> None:
    body = "def test_paint(diffbench):\n    diffbench.compare(paint, variants={'a': {}, 'b': {}})['c']\n"
    write(project, body)
    result = run(project, "--diffbench")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*has no variant 'c'. It has: a, b.*"])


def test_what_a_function_does_not_show_says_so(project: pytest.Pytester) -> None:
    body = (
        "def test_paint(diffbench):\n    diffbench.compare(paint, variants={'a': {}, 'b': {}})['b'].work_saved_rel\n"
    )
    write(project, body)
    result = run(project, "--diffbench")
    result.stdout.fnmatch_lines(["*#b: no work_saved_rel was observed: the target has no components*"])


FILM = """
import numpy as np

def film(level=0.0, repeated=None, seconds=0.1):
    CLOCK.now_ns += round(seconds * 1e9 * (1 + 0.02 * DRAW.random()))
    y, x = np.mgrid[0:32, 0:48] / 16
    waves = [0.5 + 0.3 * np.sin(3 * x + 0.5 * n) * np.cos(2 * y) for n in range(8)]
    frames = np.stack(waves)[..., None].repeat(3, -1) + level
    if repeated:
        frames[repeated] = frames[repeated - 1]
    return types.SimpleNamespace(frames=frames[None])

def test_film(diffbench):
    c = diffbench.compare(
        film,
        variants={
            "full": {},
            "near": {"level": 0.01, "seconds": 0.07},
            "far": {"level": 0.1, "seconds": 0.09},
            "frozen": {"repeated": 5},
            "equal": {"seconds": 0.05},
        },
        reference="full",
    )
    assert c["equal"].image_difference.same_bits
    near, far, frozen = (c[name].image_difference for name in ("near", "far", "frozen"))
    assert near.parts["video_psnr_db"] > 35 > 21 > far.parts["video_psnr_db"]
    assert frozen.worst.metric == "video_frozen_frames" and frozen.parts["video_frozen_frames"] == 1
    assert c["far"].dominated_by == ("near", "equal")
    assert c["near"].dominated_by == ("equal",)
    assert c["equal"].dominated_by == ()
"""


def test_videos_are_compared_by_their_own_metrics(project: pytest.Pytester) -> None:
    write(project, FILM)
    result = run(project, "--diffbench-save")
    result.assert_outcomes(passed=1)
    heads = next(line for line in result.outlines if "speed-up (99 %)" in line)
    assert heads.split()[-2:] == ["PSNR", "SSIM"]
    table = {
        line.split()[0]: line for line in result.outlines if line.strip().startswith(("near ", "far ", "equal "))
    }
    assert "39.7 dB" in table["near"]
    assert "equal" in table["equal"].split()[1:]
    rows_by_name = rows(project)
    assert rows_by_name["far"].image_difference is not None
    assert rows_by_name["far"].image_difference.psnr_db is None


def test_variants_of_a_plan_are_skipped_since_nothing_is_timed(project: pytest.Pytester) -> None:
    project.makeconftest(
        "def pytest_diffbench_load_pipeline(spec, config):\n"
        "    from tiny_pipelines import build_tiny\n"
        "    return build_tiny(spec.model)\n"
    )
    project.makepyfile(
        """
        import pytest

        @pytest.mark.diffbench(model="lumina2", weights="plan")
        def test_it(diffbench, diffbench_pipeline):
            variants = {"a": {}, "b": {"num_inference_steps": 2}}
            diffbench.compare(diffbench_pipeline, "a circle", variants=variants, height=1)  # a call would raise
        """
    )
    result = run(project, "--diffbench", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*variants are timed against each other, and a plan times nothing*"])
