"""Options, ini keys and marker arguments: who wins, and what is said to the wrong ones."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_diffbench.errors import OptionError
from pytest_diffbench.settings import options

HALF = ("--diffbench-rounds", "3")


def resolved(pytester: pytest.Pytester, *arguments: str, marker: dict[str, Any] | None = None) -> options.Settings:
    config = pytester.parseconfigure(*arguments)
    return options.resolve(config, marker or {}, "test_it.py::test_it")


def test_defaults(pytester: pytest.Pytester) -> None:
    assert resolved(pytester) == options.Settings()


@pytest.mark.parametrize(
    ("command", "marker", "ini", "rounds"),
    [
        ((), {}, "", "auto"),
        ((), {"rounds": "auto"}, "7", "auto"),
        ((), {}, "7", 7),
        ((), {"rounds": 9}, "7", 9),
        (HALF, {"rounds": 9}, "7", 3),
    ],
    ids=["default", "a marker's auto", "ini", "marker", "command line"],
)
def test_precedence(
    pytester: pytest.Pytester, command: tuple[str, ...], marker: dict[str, Any], ini: str, rounds: int | str
) -> None:
    pytester.makeini(f"[pytest]\ndiffbench_rounds = {ini}\n" if ini else "[pytest]\n")
    assert resolved(pytester, *command, marker=marker).rounds == rounds


@pytest.mark.parametrize(
    ("option", "active"),
    [
        ("--diffbench", True),
        ("--diffbench-save", True),
        ("--diffbench-selftest", True),
        ("--diffbench-against=python", True),
        ("--diffbench-against=", True),
        ("--diffbench-rounds=3", False),
    ],
)
def test_options_without_sense_unless_measuring_imply_measuring(
    pytester: pytest.Pytester, option: str, active: bool
) -> None:
    assert options.is_active(pytester.parseconfig(option)) is active


def test_a_switch_in_the_ini_file_holds_when_the_command_line_is_silent(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ndiffbench_strict = true\n")
    assert resolved(pytester).strict is True


def test_gates_come_in_their_own_order(pytester: pytest.Pytester) -> None:
    assert resolved(pytester, "--diffbench-gates=time, work,work").gates == ("work", "time")
    assert resolved(pytester, marker={"gates": ["output"]}).gates == ("output",)


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (
            {"modle": "flux"},
            r"test_it.py::test_it: .*no argument 'modle' \(did you mean 'model'\?\)\. It takes: model",
        ),
        ({"save": True}, "no argument 'save'"),
        ({"rounds": 0}, "the marker's rounds is a whole number, at least 1, or auto, not 0"),
        ({"rounds": True}, "a whole number"),
        ({"rounds": "many"}, "a whole number"),
        ({"weights": "minis"}, "is one of mini, plan, random, pretrained \\(did you mean 'mini'"),
        ({"offload": "disk"}, "is one of none, model, sequential, group"),
        ({"gates": "tyme"}, "did you mean 'time'"),
        ({"gates": 3}, "not 3"),
        ({"memory_limit_rel": -0.1}, "is a positive number"),
        ({"time_floor_rel": float("nan")}, "is a positive number"),
        ({"seed": -1}, "at least 0"),
        ({"model": ["flux"]}, "is a non-empty text"),
    ],
    ids=str,
)
def test_a_wrong_marker_is_refused(pytester: pytest.Pytester, marker: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        resolved(pytester, marker=marker)


def test_the_largest_allowed_number_is_taken(pytester: pytest.Pytester) -> None:
    settings = resolved(pytester, marker={"threads": 1024, "seed": 2**63 - 1})
    assert (settings.threads, settings.seed) == (1024, 2**63 - 1)
    for marker in ({"threads": 1025}, {"seed": 2**63}):
        with pytest.raises(OptionError, match="is a whole number, at most"):
            resolved(pytester, marker=marker)


def test_an_empty_text_is_no_setting(pytester: pytest.Pytester) -> None:
    assert resolved(pytester, marker={"gates": ""}).gates == options.GATE_NAMES
    with pytest.raises(OptionError, match="is a list of gates, separated by commas"):
        resolved(pytester, marker={"gates": " , "})


def test_a_value_that_is_no_list_is_refused_with_what_the_list_may_hold(pytester: pytest.Pytester) -> None:
    with pytest.raises(
        OptionError, match=r"the marker's gates is a list of gates, separated by commas: .*, not 3\.$"
    ):
        resolved(pytester, marker={"gates": 3})


@pytest.mark.parametrize("option", ["against", "models", "rounds", "gates", "json"])
def test_an_empty_text_on_the_command_line_is_refused(pytester: pytest.Pytester, option: str) -> None:
    with pytest.raises(OptionError, match=rf"^pytest: --diffbench-{option} .*, not ''\.$"):
        options.resolve(pytester.parseconfig(f"--diffbench-{option}="), {}, "pytest")


def test_what_a_failed_command_left_of_against_is_reported_with_the_remedy(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--diffbench-against=")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--diffbench-against names another*`diffbench env REVISION` makes*not ''.*"])


def test_a_wrong_ini_value_names_the_file(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ndiffbench_rounds = none\n")
    with pytest.raises(
        OptionError, match=r"diffbench_rounds in .*tox.ini is a whole number, at least 1, or auto, not 'none'"
    ):
        resolved(pytester)


def test_a_wrong_switch_names_the_file_and_the_value(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ndiffbench_strict = maybe\n")
    result = pytester.runpytest_inprocess("--diffbench")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*pytest: diffbench_strict in *tox.ini is true or false *'maybe'*"])


def test_an_empty_text_in_the_ini_file_is_no_setting(pytester: pytest.Pytester) -> None:
    keys = "".join(f"diffbench_{name} =\n" for name in options.names("i"))
    pytester.makeini(f"[pytest]\n{keys}")
    assert resolved(pytester) == options.Settings()


@pytest.mark.parametrize(
    ("command", "ini"), [(["--diffbench-models=~nobody-here/x"], ""), ([], "diffbench_models = ~nobody-here/x\n")]
)
def test_an_unknown_home_folder_is_reported(pytester: pytest.Pytester, command: list[str], ini: str) -> None:
    pytester.makeini(f"[pytest]\n{ini}")
    with pytest.raises(
        OptionError, match=r"diffbench.models.* is a path that starts at .* home that is known, not '~nobody-here/x'"
    ):
        resolved(pytester, *command)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--diffbench-rounds=0"], "*--diffbench-rounds is a whole number, at least 1, or auto, not '0'*"),
        (["--diffbench-weights=huge"], "*--diffbench-weights is one of mini, plan, random, pretrained*"),
        (["--diffbench-gates=tyme"], "*did you mean 'time'*"),
        (["--diffbench-dtype=float33"], "*float33*float32*"),
        (["--diffbench-device=cuda:77"], "*cuda:77*"),
        (["--diffbench-device=gpu"], "*gpu*"),
        (["--diffbench-models=nowhere"], "*--diffbench-models: *nowhere doesn't exist*save_pretrained*"),
        (["--diffbench-models=empty"], "*empty is empty*"),
        (["--diffbench-models=file.txt"], "*file.txt isn't a folder*"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_a_usage_error(
    pytester: pytest.Pytester, arguments: list[str], message: str, real_libraries: None
) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.diffbench(model='flux')\ndef test_it(diffbench): ...")
    pytester.mkdir("empty")
    (pytester.path / "file.txt").write_text("x")
    result = pytester.runpytest_inprocess("--diffbench", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["selftest", "-n2"], "*--diffbench-selftest can't be combined with -n: *Leave out -n."),
        (["against=python", "-n2"], "*--diffbench-against can't be combined with -n: *Leave out -n."),
        (["selftest", "against=python"], "*--diffbench-selftest and --diffbench-against can't be combined: *"),
        (["selftest", "save"], "*--diffbench-selftest and --diffbench-save can't be combined: *"),
        (["against=python", "save"], "*--diffbench-against and --diffbench-save can't be combined: *"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_what_would_be_ignored_beside_a_different_option_is_refused(
    pytester: pytest.Pytester, arguments: list[str], message: str
) -> None:
    pytester.makepyfile("def test_it(diffbench): ...")
    given = [argument if argument.startswith("-") else f"--diffbench-{argument}" for argument in arguments]
    result = pytester.runpytest_inprocess("--diffbench", "--diffbench-max-time=1", *given)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("model='fluks'", "*test_*::test_it*fluks*flux*"),
        ("modle='flux'", "*no argument 'modle' (did you mean 'model'*"),
        ("'flux'", "*takes keyword arguments only*model='flux'*"),
        ("model='flux', dtype='float17'", "*float17*"),
    ],
)
def test_a_wrong_marker_is_a_usage_error_before_anything_runs(
    pytester: pytest.Pytester, marker: str, message: str, real_libraries: None
) -> None:
    pytester.makepyfile(
        f"import pytest\ndef test_first(): ...\n@pytest.mark.diffbench({marker})\ndef test_it(diffbench): ..."
    )
    result = pytester.runpytest_inprocess("--diffbench")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_under_xdist_a_wrong_marker_is_reported_as_well(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, quick_processes: None
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makepyfile("import pytest\n@pytest.mark.diffbench(modle='flux')\ndef test_it(diffbench): ...")
    result = pytester.runpytest_subprocess("-n2", "--diffbench")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    error = "test_*::test_it: the diffbench marker has no argument 'modle' (did you mean 'model'*"
    result.stdout.fnmatch_lines([f"*Interrupted: {error}"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_paths_start_where_written(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makeini("[pytest]\ndiffbench_models = weights\n")
    here = pytester.mkdir("deep")
    monkeypatch.chdir(here)
    config = pytester.parseconfig(
        "--rootdir", str(pytester.path), "-c", str(pytester.path / "tox.ini"), "--diffbench-json=s.json"
    )
    settings = options.resolve(config, {"lora": "l.safetensors"}, "test")
    assert settings.lora == str(pytester.path / "l.safetensors")
    assert options.folder(config, settings.json or "") == here / "s.json"
    assert options.folder(config, settings.models or "") == pytester.path / "weights"
    assert options.folder(config, settings.baselines) == pytester.path / "baselines"


@pytest.mark.parametrize("ini", [True, False])
def test_a_key_of_the_ini_file_starts_at_the_file_or_at_the_root_folder(pytester: pytest.Pytester, ini: bool) -> None:
    root = pytester.mkdir("root")
    (pytester.mkdir("settings") / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    given = ["-c", "settings/pytest.ini"] if ini else []
    config = pytester.parseconfig("--rootdir", str(root), *given, "-o", "diffbench_models=weights")
    settings = options.resolve(config, {}, "test")
    start = pytester.path / "settings" if ini else root
    assert options.folder(config, settings.models or "") == start / "weights"
