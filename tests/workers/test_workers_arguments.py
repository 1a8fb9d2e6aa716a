"""The command line of a measuring process: all that decides how it measures, and nothing else."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from pytest_diffbench.records import Tuning
from pytest_diffbench.settings import options
from pytest_diffbench.workers.arguments import kept_arguments, options_of


@pytest.fixture(scope="module")
def parser() -> argparse.ArgumentParser:
    """Options as pytest, pytest-xdist, pytest-cov and this plugin declare them."""
    known = argparse.ArgumentParser(allow_abbrev=False)
    add = known.add_argument
    add("file_or_dir", nargs="*")
    add("-k", dest="keyword")
    add("-p", action="append", dest="plugins")
    add("-o", "--override-ini", action="append", dest="override_ini")
    add("-W", "--pythonwarnings", action="append", dest="pythonwarnings")
    add("-c", "--config-file", dest="inifilename")
    add("-x", "--exitfirst", action="store_const", const=1, dest="maxfail")
    add("-v", "--verbose", action="count", dest="verbose")
    add("-s", action="store_const", const="no", dest="capture")
    add("-n", "--numprocesses", dest="numprocesses")
    add("--dist", dest="dist")
    add("--rootdir", dest="rootdir")
    add("--pyargs", action="store_true", dest="pyargs")
    add("--junitxml", "--junit-xml", dest="xmlpath")
    add("--cov", action="append", nargs="?", const=True, dest="cov_source")
    add("--lf", "--last-failed", action="store_true", dest="lf")
    add("--diffbench", action="store_true", dest="diffbench")
    add("--diffbench-save", action="store_true", dest="diffbench_save")
    add("--diffbench-json", dest="diffbench_json")
    add("--diffbench-profile", dest="diffbench_profile")
    add("--diffbench-rounds", dest="diffbench_rounds")
    add("--debug", nargs="?", const="pytestdebug.log", dest="debug")
    add("--models", nargs="+", dest="models")
    return known


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("", ""),
        ("tests", ""),
        ("tests/test_a.py::test_b[x]", ""),
        ("--diffbench --diffbench-rounds 3 tests", "--diffbench-rounds 3"),
        ("--diffbench-rounds=3 tests", "--diffbench-rounds=3"),
        ("-k tests tests", "-k tests"),
        ("-ktests tests", "-ktests"),
        ("-p my.plugin -pother -o a=b -W error", "-p my.plugin -pother -o a=b -W error"),
        ("-n 4 --dist=load tests", ""),
        ("-n4 tests", ""),
        ("-xvs tests", "-v"),
        ("-xk name tests", "-k name"),
        ("-xkname", "-kname"),
        ("-c pytest.ini --rootdir . --junitxml junit.xml --junit-xml=j.xml", ""),
        ("--cov --cov=src --lf -v", "-v"),
        ("--cov src tests", ""),
        ("--diffbench-save --diffbench-json s.json", ""),
        ("--diffbench-profile traces --diffbench-profile=t -v", "-v"),
        ("--debug=log.txt -v", "-v"),
        ("--models a b -v tests", "--models a b -v"),
        ("--nobody-knows-it --nobody=x tests", "--nobody-knows-it --nobody=x"),
        ("-v -- -k tests", "-v"),
        ("--pyargs package.tests", ""),
    ],
)
def test_what_is_kept(parser: argparse.ArgumentParser, typed: str, kept: str) -> None:
    assert kept_arguments(typed.split(), options_of(parser)) == kept.split()


def test_arguments_in_a_file_count_too(
    parser: argparse.ArgumentParser, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    with open("more.txt", "w", encoding="utf-8") as file:  # noqa: PTH123  # relative, as typed
        file.write("-k\na name\n--junitxml=x.xml\ntests\n")
    assert kept_arguments(["@more.txt", "-v"], options_of(parser)) == ["-k", "a name", "-v"]


def test_every_dropped_option_is_an_option_of_pytest_or_a_plugin(pytester: pytest.Pytester) -> None:
    """A name that nobody declares would be a slip, and drop nothing."""
    from pytest_diffbench.workers.arguments import _DROPPED

    config = pytester.parseconfig()
    parser: Any = config._parser
    known = {option.dest for option in options_of(getattr(parser, "optparser", None) or parser._getparser())}
    # Of plugins that aren't installed here.
    elsewhere = {"htmlpath", "self_contained_html", "report_log"}
    elsewhere |= {"reruns", "force_reruns", "fail_on_flaky", "retries", "force_flaky", "count"}
    assert known >= _DROPPED - elsewhere


def test_every_option_of_the_plugin_is_decided_for_measuring_processes() -> None:
    """One that writes would overwrite the session's files, process by process."""
    from pytest_diffbench.workers.arguments import _DROPPED

    kept = {name for name in options.names("c") if f"diffbench_{name}" not in _DROPPED}
    measures = {"weights", "models", "device", "dtype", "offload", "rounds", "threads", "probe"}
    measures |= {*Tuning.__struct_fields__}
    # Those besides write nothing but the hub's cache, and hold for what the tests' markers and the ini file say, too.
    assert kept == measures | {"download", "baselines", "gates", "metrics", "lpips_backbone"}
