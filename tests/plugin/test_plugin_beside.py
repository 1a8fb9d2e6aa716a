"""Beside other plugins, from other folders, and with the wrong thing typed."""

from __future__ import annotations

import shlex
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_diffbench.measure import environment
from pytest_diffbench.report import session_json
from pytest_diffbench.report.sentences.saving import saved_text

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("real_libraries", "quick_processes")

TARGET = """
import numpy as np
import pytest

SOUND = np.tile(np.arange(32, dtype=np.uint8)[:, None, None] * 5, (1, 32, 3))

def paint(size=32, fails=False):
    if fails:
        raise ZeroDivisionError("no paint is left")
    return [SOUND]
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makepyfile(test_paint=TARGET + "def test_paint(diffbench):\n    diffbench(paint)\n")
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("--diffbench-rounds=1", "--diffbench-gates=output", *arguments)


def test_a_test_using_pytest_benchmark_directly(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_paint=TARGET + "def test_paint(benchmark, diffbench):\n    benchmark(paint)\n    diffbench(paint)\n"
    )
    run(project, "--diffbench-save").assert_outcomes(passed=1)


def test_a_foreign_plugins_benchmark_fixture(project: pytest.Pytester) -> None:
    """As pytest-codspeed's, which takes the place of pytest-benchmark."""
    project.makeconftest("import pytest\n@pytest.fixture\ndef benchmark():\n    return lambda function: function()\n")
    run(project, "--diffbench-save", "-p", "no:benchmark").assert_outcomes(passed=1)


@pytest.mark.full
@pytest.mark.parametrize("first", [True, False], ids=["named before", "named after"])
def test_the_plugin_may_be_named_beside_the_entry_point(project: pytest.Pytester, first: bool) -> None:
    if not first:
        project.makeconftest("pytest_plugins = ['pytest_diffbench.plugin']\n")
    named = ("-p", "pytest_diffbench.plugin") if first else ()
    result = project.run(
        *(sys.executable, "-m", "pytest", *named, "--diffbench-save", "--diffbench-rounds=1"),
        "--diffbench-json=session.json",
    )
    result.assert_outcomes(passed=1)
    assert len(session_json.load(project.path / "session.json").cases) == 1


def test_times_under_a_tracer_are_not_saved_and_the_rest_is(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_paint=TARGET + "import sys\ndef ignore(*_):\n    pass\n"
        "def test_paint(diffbench):\n"
        "    before = sys.gettrace()\n    sys.settrace(ignore)\n    diffbench(paint)\n    sys.settrace(before)\n"
    )
    result = run(project, "--diffbench-save", "--diffbench-json=session.json")
    result.assert_outcomes(passed=1)
    (case,) = session_json.load(project.path / "session.json").cases
    assert saved_text(case.saved) == "created"
    assert case.times_left_out == "test_paint traced the call, and its own time is in the measured one."
    result.stdout.fnmatch_lines(["not timed *test_paint traced the call*"])
    result = project.runpytest_inprocess("--diffbench", "--diffbench-json=session.json")
    result.assert_outcomes(passed=1)
    (case,) = session_json.load(project.path / "session.json").cases
    reasons = {verdict.gate: verdict.reason for verdict in case.verdicts}
    assert reasons["time"] in ("time.no_baseline", "time.traced")
    assert reasons["output"] == "output.same_bits"


def test_benchmarks_are_marked_for_plugins_running_tests_in_threads(project: pytest.Pytester) -> None:
    project.makeconftest(
        "class Threads:\n    def pytest_collection_finish(self, session):\n"
        "        for item in session.items:\n"
        "            print(item.name, item.get_closest_marker('thread_unsafe') is not None)\n"
        "def pytest_configure(config):\n"
        "    config.addinivalue_line('markers', 'thread_unsafe(reason=...): as pytest-run-parallel has it')\n"
        "    config.pluginmanager.register(Threads(), 'run-parallel')\n"
    )
    project.makepyfile(
        test_paint=TARGET + "def test_paint(diffbench):\n    diffbench(paint)\ndef test_plain(): ...\n"
    )
    result = run(project, "--diffbench-save", "--strict-markers", "-s")
    result.stdout.fnmatch_lines(["*test_paint True*", "*test_plain False*"])


def test_a_profiler_in_c_does_not_break_the_rounds(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_paint=TARGET + "import cProfile\n"
        "def test_paint(diffbench):\n    with cProfile.Profile():\n        diffbench(paint)\n"
    )
    result = run(project, "--diffbench-save", "-W", "error")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["not timed * traced the call, *"])


def test_a_frozen_clock_is_a_single_clear_failure(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_paint=TARGET + "import time\n"
        "def test_paint(diffbench, monkeypatch):\n"
        "    monkeypatch.setattr(time, 'perf_counter_ns', lambda: 7)\n    diffbench(paint)\n"
    )
    result = run(project, "--diffbench-save")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*perf_counter_ns stands still: 10,000 readings, all 7 ns. Something has frozen it*"]
    )


def test_collecting_alone_leaves_the_file_of_the_last_session(project: pytest.Pytester) -> None:
    run(project, "--diffbench-save", "--diffbench-json=session.json").assert_outcomes(passed=1)
    before = (project.path / "session.json").read_bytes()
    run(project, "--diffbench", "--collect-only", "--diffbench-json=session.json")
    assert (project.path / "session.json").read_bytes() == before


@pytest.mark.parametrize(
    ("marker", "options", "message"),
    [
        ("seed=2**80", (), "*test_paint: the marker's seed is a whole number, at most 9223372036854775807, not *"),
        ("threads=100000", (), "*the marker's threads is a whole number, at most 1024, not 100000*"),
        ("", ("--diffbench-threads=100000",), "*--diffbench-threads is a whole number, at most 1024, not '100000'*"),
    ],
)
def test_numbers_beyond_torchs_range_are_refused(
    project: pytest.Pytester, marker: str, options: tuple[str, ...], message: str
) -> None:
    project.makepyfile(
        test_paint=TARGET + f"@pytest.mark.diffbench({marker})\ndef test_paint(diffbench):\n    diffbench(paint)\n"
    )
    result = run(project, "--diffbench-save", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_a_raising_pipeline_shows_own_frames_alone(project: pytest.Pytester) -> None:
    project.makepyfile(test_paint=TARGET + "def test_paint(diffbench):\n    diffbench(paint, fails=True)\n")
    result = run(project, "--diffbench-save")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*diffbench(paint, fails=True)*", "*raise ZeroDivisionError*", "E * no paint is left"]
    )
    result.stdout.no_fnmatch_line("*pytest_diffbench*.py:*")


@pytest.mark.parametrize("failing", ["reference", "other"])
def test_a_raising_variant_is_named_with_the_error(project: pytest.Pytester, failing: str) -> None:
    variants = {"reference": "{'a': {'fails': True}, 'b': {}}", "other": "{'a': {}, 'b': {'fails': True}}"}[failing]
    project.makepyfile(
        test_paint=TARGET
        + f"def test_paint(diffbench):\n    diffbench.compare(paint, variants={variants}, precision_rel=9)\n"
    )
    result = run(project, "--diffbench-save")
    result.assert_outcomes(failed=1)
    name = {"reference": "a", "other": "b"}[failing]
    result.stdout.fnmatch_lines([f"*variant '{name}' raised ZeroDivisionError: no paint is left*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_a_plain_callable_needs_no_diffusers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "diffusers"]:
        monkeypatch.delitem(sys.modules, name)
    environment_facts = environment.environment_of("cpu", len)
    assert "diffusers" not in sys.modules
    assert environment_facts.software["attention_backend"] is None


def test_facts_depend_on_the_case_and_not_on_what_was_imported_before(monkeypatch: pytest.MonkeyPatch) -> None:
    import diffusers

    model: Any = type("Model", (diffusers.ModelMixin,), {})
    with_diffusers = environment.environment_of("cpu", len)
    for target in (model(), SimpleNamespace(components={"transformer": model()})):
        assert environment.environment_of("cpu", target).software["attention_backend"] == "native"
    for name in [name for name in sys.modules if name.partition(".")[0] in ("diffusers", "transformers")]:
        monkeypatch.delitem(sys.modules, name)
    without = environment.environment_of("cpu", len)
    assert (without.settings, without.software) == (with_diffusers.settings, with_diffusers.software)


def words_after(result: pytest.RunResult, mark: str) -> list[str]:
    line = next(line for line in result.outlines if mark in line and "--diffbench-save" in line)
    return shlex.split(line.partition(mark)[2])


def test_a_suggested_command_works_from_the_folder_of_pasting(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makeini("[pytest]\n")
    inner: Path = project.mkdir("inner")
    monkeypatch.chdir(inner)
    given = ("--diffbench-baselines=kept", "--diffbench-threads=1")
    result = run(project, "--diffbench", *given, "../test_paint.py")
    result.assert_outcomes(failed=1)
    (place,) = [line.split()[-1] for line in result.outlines if line.startswith("looked in ")]
    assert place == str(inner / "kept")
    command = words_after(result, "to add it")
    assert command[0] == "pytest"
    assert set(command) >= {
        *given,
        "--diffbench-rounds=1",
        "--diffbench-gates=output",
        "../test_paint.py::test_paint",
    }
    project.runpytest_inprocess(*command[1:]).assert_outcomes(passed=1)
    assert list((inner / "kept").iterdir())
    run(project, "--diffbench", *given, "../test_paint.py").assert_outcomes(passed=1)


def test_the_sessions_file_knows_the_command_too(project: pytest.Pytester) -> None:
    run(project, "--diffbench", "--diffbench-json=session.json", "--diffbench-strict")
    report = session_json.load(project.path / "session.json")
    assert report.command == ("pytest", "--diffbench-rounds=1", "--diffbench-gates=output")
    assert report.root == ""
