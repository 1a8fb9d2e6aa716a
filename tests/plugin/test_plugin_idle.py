"""Without --diffbench: benchmarks are skipped before any fixture runs, and nothing heavy is imported."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from pytest_diffbench.records import GATES
from pytest_diffbench.settings import options

HEAVY = ("torch", "numpy", "scipy", "jinja2", "diffusers", "transformers", "msgspec", "PIL", "safetensors")

TESTS = """
import pytest

@pytest.fixture
def loud():
    raise RuntimeError("a fixture ran")

@pytest.mark.diffbench(model="lumina2")
def test_marked(loud, diffbench, diffbench_pipeline): ...

def test_by_fixture(loud, diffbench): ...

@pytest.mark.diffbench(modle="x")
def test_wrong_marker(loud): ...

def test_other(): ...
"""


def test_benchmarks_are_skipped_before_their_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_inprocess("-rs")
    result.assert_outcomes(skipped=3, passed=1)
    result.stdout.fnmatch_lines(["*run it with --diffbench*"])


@pytest.mark.parametrize("name", ["diffbench", "diffbench_pipeline"])
def test_a_fixture_requested_while_a_test_runs_needs_the_marker(pytester: pytest.Pytester, name: str) -> None:
    pytester.makepyfile(f"def test_it(request):\n    request.getfixturevalue({name!r})\n")
    idle = pytester.runpytest_inprocess("-rs")
    idle.assert_outcomes(skipped=1)
    idle.stdout.fnmatch_lines(["*run it with --diffbench*"])
    active = pytester.runpytest_inprocess("--diffbench")
    active.assert_outcomes(failed=1)
    active.stdout.fnmatch_lines(["test_*::test_it requests a fixture of diffbench *Add the marker: @*"])
    active.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("arguments", [["--collect-only"], []], ids=["collecting", "running"])
def test_an_idle_session_imports_nothing_heavy(pytester: pytest.Pytester, arguments: list[str]) -> None:
    pytester.makepyfile(test_idle_project=TESTS)
    script = pytester.makepyfile(
        idle=f"""
import sys, pytest
code = pytest.main({[*arguments, "-q", "-p", "no:hypothesispytest", "test_idle_project.py"]!r})
print("loaded:", sorted(set({HEAVY!r}) & set(sys.modules)), "code:", int(code))
"""
    )
    result = pytester.run(sys.executable, script)
    result.stdout.fnmatch_lines(["loaded: [[]] code: 0"])


@pytest.mark.full
@pytest.mark.parametrize("optional", [True, False])
def test_without_the_plugin_a_hook_has_to_be_optional(pytester: pytest.Pytester, optional: bool) -> None:
    pytester.makeconftest(
        f"import pytest\n@pytest.hookimpl(optionalhook={optional})\n"
        "def pytest_diffbench_environment(config):\n    return {}\n"
    )
    pytester.makepyfile("def test_other(): ...")
    result = pytester.runpytest_subprocess("-p", "no:diffbench")
    assert (result.ret == pytest.ExitCode.OK) is optional


def test_help_says_every_default(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--help")
    help_text = " ".join(" ".join(result.outlines).split())
    for name in (*options.names("c"), *options.names("i")):
        field = options.Settings.__dataclass_fields__[name]
        match field.default:
            case None | False | ():
                default = ""
            case tuple(several):
                default = f" (default: {','.join(several)})"
            case value:
                default = f" (default: {value})"
        assert f"{field.metadata['help']}{default}" in help_text


@pytest.mark.full
def test_import_time_shows_no_torch(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    result = pytester.run(sys.executable, "-X", "importtime", "-m", "pytest", "--collect-only", "-q")
    imported = {line.rpartition("|")[2].strip() for line in result.errlines if line.startswith("import time:")}
    assert "pytest_diffbench.settings.options" in imported
    assert not {name for name in imported if name.partition(".")[0] in HEAVY}


def test_the_marker_is_documented_and_strict(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.diffbench(model=..., *): benchmark of a diffusion pipeline*"])


def test_gate_names_match_the_records() -> None:
    assert options.GATE_NAMES == GATES


def test_every_setting_has_a_source_a_parser_and_a_help() -> None:
    for field in dataclasses.fields(options.Settings):
        assert set(field.metadata["sources"]) <= set("cmi"), field.name
        assert field.metadata["sources"], field.name
        assert field.metadata["help"], field.name
        assert callable(field.metadata["parse"]), field.name
