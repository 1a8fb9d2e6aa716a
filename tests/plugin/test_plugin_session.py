"""A measuring session, with small targets of the test's own: outcomes, order, hooks, reports, saving."""

from __future__ import annotations

import itertools
import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from pytest_diffbench.report import session_json
from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.settings import options

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("real_libraries", "quick_processes")

TARGET = """
import pytest
from PIL import Image

def paint(size=32, shade=200):
    image = Image.new("RGB", (size, size), (shade, 0, 0))
    image.putpixel((0, 0), (0, 255, 0))
    return [image]
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    # pytest-benchmark switches itself off where it reads this.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makepyfile(test_paint=TARGET + "def test_paint(diffbench):\n    diffbench(paint, size=32)\n")
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("--diffbench-rounds=1", "--diffbench-json=session.json", *arguments)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_life_of_a_baseline(project: pytest.Pytester) -> None:
    missing = run(project, "--diffbench")
    missing.assert_outcomes(failed=1)
    missing.stdout.fnmatch_lines(["*no baseline*", "*--diffbench-save*"])
    assert not (project.path / "baselines").exists()

    run(project, "--diffbench-save").assert_outcomes(passed=1)
    created = contents(project.path / "baselines")
    assert any(name.endswith("image-0.png") for name in created)

    run(project, "--diffbench").assert_outcomes(passed=1)
    assert contents(project.path / "baselines") == created

    run(project, "--diffbench-save").assert_outcomes(passed=1)
    assert saved_text(session_json.load(project.path / "session.json").cases[0].saved) == "added run 2"

    project.makepyfile(test_paint=TARGET + "def test_paint(diffbench):\n    diffbench(paint, size=48)\n")
    changed = run(project, "--diffbench")
    changed.assert_outcomes(failed=1)
    changed.stdout.fnmatch_lines(
        ["*defined differently from its baseline*", "*definition_changed*", "*--diffbench-save*"]
    )

    run(project, "--diffbench-save").assert_outcomes(passed=1)
    assert saved_text(session_json.load(project.path / "session.json").cases[0].saved) == "new generation 2"


def test_the_verdict_falls_after_the_tests_own_assertions(project: pytest.Pytester) -> None:
    run(project, "--diffbench-save")
    project.makepyfile(
        test_paint=TARGET.replace("shade=200", "shade=100")
        + "def test_paint(diffbench):\n    result = diffbench(paint, size=32)\n    assert result.images == ()\n"
    )
    result = run(project, "--diffbench", "--junitxml=junit.xml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert result.images == ()*", "*output.differs*"])

    project.makepyfile(
        test_paint=TARGET.replace("shade=200", "shade=100")
        + "def test_paint(diffbench):\n    diffbench(paint, size=32)\n"
    )
    run(project, "--diffbench", "--junitxml=junit.xml").assert_outcomes(failed=1)
    root = ET.parse(project.path / "junit.xml").getroot()
    failure = root.find(".//failure")
    assert failure is not None
    assert "worse in output" in str(failure.get("message"))
    names = {element.get("name"): element.get("value") for element in root.findall(".//property")}
    assert names["diffbench.output.decision"] == "worse"


def test_an_expected_failure_stays_expected(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_paint=TARGET + "@pytest.mark.xfail(strict=True)\ndef test_paint(diffbench):\n    diffbench(paint)\n"
    )
    run(project, "--diffbench").assert_outcomes(xfailed=1)


def test_a_failed_test_is_not_saved(project: pytest.Pytester) -> None:
    project.makepyfile(test_paint=TARGET + "def test_paint(diffbench):\n    diffbench(paint)\n    assert False\n")
    run(project, "--diffbench-save").assert_outcomes(failed=1)
    assert not (project.path / "baselines").exists()


QUIETLY = {
    "unittest": (
        "import unittest\n"
        "class TestPaint(unittest.TestCase):\n"
        "    @pytest.fixture(autouse=True)\n"
        "    def _take(self, diffbench):\n"
        "        self.diffbench = diffbench\n"
        "    def test_paint(self):\n"
        "        self.diffbench(paint)\n"
    ),
    "subtests": "def test_paint(diffbench, subtests):\n    diffbench(paint)\n",
}


@pytest.mark.parametrize(
    ("kind", "ending", "failed"),
    [
        ("unittest", "        self.fail('no')\n", 1),
        ("unittest", "        with self.subTest(i=1):\n            self.fail('no')\n", 2),
        ("unittest", "", 0),
        ("subtests", "    with subtests.test('a'):\n        assert False\n", 2),
        ("subtests", "    with subtests.test('a'):\n        assert True\n", 0),
    ],
    ids=["TestCase", "subTest", "TestCase passes", "subtests", "subtests pass"],
)
def test_a_test_failed_without_raising_is_not_saved(
    project: pytest.Pytester, kind: str, ending: str, failed: int
) -> None:
    if "sub" in kind + ending and not hasattr(pytest, "Subtests"):
        pytest.skip("pytest has subtests of its own since 9")
    project.makepyfile(test_paint=TARGET + QUIETLY[kind] + ending)
    result = run(project, "--diffbench-save")
    assert result.parseoutcomes().get("failed", 0) == failed
    (case,) = session_json.load(project.path / "session.json").cases
    assert saved_text(case.saved) == ("refused: the test failed" if failed else "created")
    assert (project.path / "baselines").exists() is not bool(failed)


def test_several_calls_need_labels(project: pytest.Pytester) -> None:
    body = "def test_paint(diffbench):\n    diffbench(paint, shade=1)\n    diffbench(paint, shade=2{})\n"
    project.makepyfile(test_paint=TARGET + body.format(""))
    result = run(project, "--diffbench-save")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*needs its own label*"])
    project.makepyfile(test_paint=TARGET + body.format(", label='second'"))
    run(project, "--diffbench-save").assert_outcomes(passed=1)
    ids = [case.observation.case.id for case in session_json.load(project.path / "session.json").cases]
    assert ids == ["test_paint.py::test_paint", "test_paint.py::test_paint#second"]


def test_an_argument_unknown_to_the_target_is_a_single_sentence(project: pytest.Pytester) -> None:
    project.makepyfile(test_paint=TARGET + "def test_paint(diffbench):\n    diffbench(paint, sighs=3)\n")
    result = run(project, "--diffbench")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*paint can't be called like this*sighs*It takes: size, shade.*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_hooks_add_facts_and_receive_outcomes(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
def pytest_diffbench_environment(config):
    return {"rack": "north", "room_temperature_c": 21.5}

def pytest_diffbench_outcome(report, config):
    with open("outcomes.txt", "a") as file:
        file.write(report.observation.case.id + " " + report.saved.what + "\\n")
"""
    )
    run(project, "--diffbench-save").assert_outcomes(passed=1)
    assert (project.path / "outcomes.txt").read_text() == "test_paint.py::test_paint created\n"
    software = session_json.load(project.path / "session.json").cases[0].observation.run.environment.software
    assert (software["rack"], software["room_temperature_c"]) == ("north", 21.5)

    project.makeconftest("def pytest_diffbench_environment(config):\n    return {'rack': 'south'}\n")
    run(project, "--diffbench")
    changed = session_json.load(project.path / "session.json").cases[0].changed_since
    assert "rack north -> south" in changed


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("{'disks': ['a', 'b']}", "pytest_diffbench_environment returned 'disks': ['a', 'b']. A fact is a text*"),
        ("{'home': __import__('pathlib').Path('x')}", "pytest_diffbench_environment returned 'home': *Path('x')*"),
        ("{3: 'x'}", "pytest_diffbench_environment returned 3: 'x'. A fact's name is a text."),
        ("['rack']", "pytest_diffbench_environment returned ['rack']. Return a dict*"),
    ],
)
def test_what_is_no_fact_fails_every_test_by_name(project: pytest.Pytester, returned: str, message: str) -> None:
    project.makeconftest(f"def pytest_diffbench_environment(config):\n    return {returned}\n")
    project.makepyfile(test_paint=TARGET + "def test_a(diffbench): ...\ndef test_b(diffbench): ...\n")
    result = run(project, "--diffbench")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines([f"*{message.replace('[', '[[]')}"] * 2)
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_values_of_other_classes_are_recorded_as_plain_values(project: pytest.Pytester) -> None:
    project.makeconftest(
        "import numpy as np\n"
        "def pytest_diffbench_environment(config):\n    return {'room_c': np.float32(21.5), 'user': np.str_('me')}\n"
    )
    project.makepyfile(
        test_paint=TARGET
        + "import numpy as np\n"
        + "def test_paint(diffbench):\n"
        + "    diffbench(paint, size=np.int64(32), shade=np.int64(200))\n"
        + "    diffbench.sweep(paint, 'shade', list(np.array([100, 200])), label='sweep', precision_rel=5)\n"
    )
    run(project, "--diffbench", "--diffbench-gates=guidance").assert_outcomes(passed=1)
    session = session_json.load(project.path / "session.json")
    assert session.cases[0].observation.case.definition.arguments == {"size": 32, "shade": 200}
    assert session.cases[0].observation.run.environment.software["room_c"] == 21.5
    assert [variant.value for variant in session.comparisons[0].variants] == [100, 200]


def test_gates_can_be_chosen(project: pytest.Pytester) -> None:
    run(project, "--diffbench", "--diffbench-gates=guidance").assert_outcomes(passed=1)
    (case,) = session_json.load(project.path / "session.json").cases
    assert [verdict.gate for verdict in case.verdicts] == ["guidance"]


def test_rounds_appear_in_pytest_benchmark(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess(
        "--diffbench-save", "--diffbench-rounds=4", "--benchmark-json=benchmark.json", "--diffbench-json=session.json"
    )
    result.stdout.fnmatch_lines(["*benchmark: 1 tests*", "test_paint*"])
    (row,) = json.loads((project.path / "benchmark.json").read_text())["benchmarks"]
    rounds = session_json.load(project.path / "session.json").cases[0].observation.run.totals_s
    assert row["stats"]["rounds"] == len(rounds) == 4
    # It times the same calls from a little further outside.
    assert all(shown_s >= measured_s for shown_s, measured_s in zip(row["stats"]["data"], rounds, strict=True))


@pytest.mark.parametrize("arguments", [["--benchmark-disable"], ["-p", "no:benchmark"]], ids=" ".join)
def test_the_measurement_goes_on_without_pytest_benchmark(
    project: pytest.Pytester, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # a busy machine can make rounds of microseconds unsteady, which aren't saved
    ticks_ns = itertools.count(step=1_000_000)
    monkeypatch.setattr("pytest_diffbench.measure.clock.now_ns", lambda: next(ticks_ns))
    result = project.runpytest_inprocess(
        "--diffbench-save", "--diffbench-rounds=3", "--diffbench-json=session.json", *arguments
    )
    result.assert_outcomes(passed=1)
    assert len(session_json.load(project.path / "session.json").cases[0].observation.run.rounds) == 3
    result.stdout.no_fnmatch_line("*was not used*")


def test_benchmark_only_keeps_benchmarks(project: pytest.Pytester) -> None:
    result = run(project, "--diffbench-save", "--benchmark-only")
    result.assert_outcomes(passed=1)


def test_under_xdist_results_come_home_and_time_is_not_trusted(project: pytest.Pytester) -> None:
    run(project, "--diffbench-save")
    result = project.runpytest_subprocess(
        "-n2", "--diffbench", "--diffbench-rounds=2", "--diffbench-json=session.json"
    )
    result.assert_outcomes(passed=1)
    session = session_json.load(project.path / "session.json")
    assert not session.interrupted
    (case,) = session.cases
    assert {verdict.gate: verdict.reason for verdict in case.verdicts}["time"] == "time.parallel"
    assert case.observation.run.environment.state["xdist_workers"] == 2


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("baseline.json", b"{", "*baseline.json*"),
        ("baseline.json", b"", "*baseline.json*empty*"),
        ("baseline.json", b'{"schema": 9}', "*baseline.json*schema 9 is newer*Upgrade*"),
        ("baseline.json", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "*git lfs pull*"),
    ],
    ids=["malformed", "empty", "newer", "lfs pointer"],
)
def test_a_bad_baseline_is_red_and_stays_unchanged(
    project: pytest.Pytester, name: str, damage: bytes, message: str
) -> None:
    run(project, "--diffbench-save")
    (path,) = (project.path / "baselines").rglob(name)
    path.write_bytes(damage)
    for option in ("--diffbench", "--diffbench-save"):
        result = run(project, option)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines([message])
        assert path.read_bytes() == damage


@pytest.mark.parametrize(
    ("field", "value"), [("total_s", "0.0"), ("total_s", "-1.0"), ("total_s", "NaN"), ("peak_bytes", "0")]
)
def test_impossible_figures_are_never_a_baseline(project: pytest.Pytester, field: str, value: str) -> None:
    import re

    run(project, "--diffbench-save")
    (path,) = (project.path / "baselines").rglob("baseline.json")
    text, count = re.subn(rf'"{field}": [^,}}\s]+', f'"{field}": {value}', path.read_text(), count=1)
    assert count == 1
    path.write_text(text)
    result = run(project, "--diffbench")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*baseline.json*{field}*"])


def test_an_undecodable_picture_is_red_where_pictures_differ(project: pytest.Pytester) -> None:
    run(project, "--diffbench-save")
    (path,) = (project.path / "baselines").rglob("image-0.png")
    path.write_bytes(path.read_bytes()[:40])
    project.makepyfile(
        test_paint=TARGET.replace("shade=200", "shade=190")
        + "def test_paint(diffbench):\n    diffbench(paint, size=32)\n"
    )
    result = run(project, "--diffbench")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*image-0.png*"])


def test_an_unwritable_folder_is_a_single_clear_failure(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file where the folder should be: root may write to a read-only folder, but not into a file.
    project.makepyfile(
        test_paint=TARGET + "def test_paint(diffbench):\n    open('baselines', 'w').close()\n    diffbench(paint)\n"
    )
    result = run(project, "--diffbench-save")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*baselines*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert session_json.load(project.path / "session.json").cases[0].observation.complete


def test_a_file_no_longer_writable_costs_no_result(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_paint=TARGET + "import os\ndef test_paint(diffbench):\n"
        "    os.remove('session.json')\n    os.mkdir('session.json')\n    diffbench(paint)\n"
    )
    result = run(project, "--diffbench-save")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*--diffbench-json: *session.json*", "*saved*created*"])


def test_the_file_holds_what_the_ini_file_alone_can_set(project: pytest.Pytester) -> None:
    project.makepyfile(test_paint="def test_other(): ...\n")
    project.makeini("[pytest]\ndiffbench_seed = 7\ndiffbench_time_floor_rel = .03\n")
    run(project, "--diffbench")
    settings = session_json.load(project.path / "session.json").settings
    assert (settings["seed"], settings["time_floor_rel"], settings["rounds"]) == (7, 0.03, 1)
    assert settings.keys() == {*options.names("c"), *options.names("i")}


@pytest.mark.parametrize(("option", "interrupted"), [("-x", True), ("--maxfail=1", True), ("--maxfail=9", False)])
def test_the_file_says_where_the_session_was_cut_short(
    project: pytest.Pytester, option: str, interrupted: bool
) -> None:
    project.makepyfile(test_paint="def test_first():\n    assert False\ndef test_other(): ...\n")
    run(project, "--diffbench", option)
    assert session_json.load(project.path / "session.json").interrupted is interrupted


def test_a_result_and_the_baseline_name_the_same_run(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_paint=TARGET
        + "def test_paint(diffbench):\n    result = diffbench(paint)\n"
        + "    open('id.txt', 'w').write(result.observation.run.id)\n"
    )
    run(project, "--diffbench-save")
    (path,) = (project.path / "baselines").rglob("baseline.json")
    assert json.loads(path.read_text())["runs"][0]["id"] == (project.path / "id.txt").read_text()


def test_a_benchmark_without_measurements_fails(project: pytest.Pytester) -> None:
    project.makepyfile(test_paint="def test_paint(diffbench): ...")
    result = run(project, "--diffbench")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*measures nothing*"])


def test_an_error_is_reported_once(project: pytest.Pytester) -> None:
    project.makepyfile(test_paint=TARGET + "def test_paint(diffbench):\n    diffbench(paint, sighs=3)\n")
    result = run(project, "--diffbench")
    result.stdout.no_fnmatch_line("*another exception occurred*")


def test_tests_skipped_for_want_of_a_folder_have_no_part_in_the_error_budget(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        test_paint=TARGET
        + """
def test_one(diffbench): ...
def test_two(diffbench): ...
@pytest.mark.diffbench(model="folder")
def test_three(diffbench, diffbench_pipeline): ...
"""
    )
    project.makeconftest(
        "def pytest_collection_finish(session):\n"
        "    made = session.config.pluginmanager.get_plugin('diffbench-session')\n"
        "    (session.config.rootpath / 'decisions.txt').write_text(str(made._context.benchmarks))\n"
    )
    run(project, "--diffbench")
    assert (project.path / "decisions.txt").read_text() == "2"
