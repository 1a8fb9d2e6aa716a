"""The `diffbench` command: what it prints, and its exit status."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
import report_factories as make
import report_records

from pytest_diffbench import __version__
from pytest_diffbench.commands import main as cli
from pytest_diffbench.commands.parser import SETTINGS
from pytest_diffbench.errors import as_command, option
from pytest_diffbench.outputs.pixels import image_digest
from pytest_diffbench.pipelines.registry import MODELS
from pytest_diffbench.records import ImageFacts, Observation, Round
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.report import comment, session_json
from pytest_diffbench.report.lines import plain
from pytest_diffbench.report.terminal import summary_lines
from pytest_diffbench.settings.options import Settings
from pytest_diffbench.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_diffbench.records import SessionReport


@pytest.fixture(autouse=True)
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def written(path: Path, session: SessionReport) -> str:
    session_json.write(path, session)
    return str(path)


def faster_by(observation: Observation, factor: float) -> Observation:
    rounds = tuple(
        Round(
            total_s=timed.total_s / factor,
            stages_s={stage: value_s / factor for stage, value_s in timed.stages_s.items()},
            steps_s=tuple(value_s / factor for value_s in timed.steps_s),
            output_digest=timed.output_digest,
        )
        for timed in observation.run.rounds
    )
    return msgspec.structs.replace(observation, run=msgspec.structs.replace(observation.run, rounds=rounds))


# -- usage


NUMBERS = (
    ("calibrate", "runs", "whole number, at least 2", ("1", "x", "nan", "2.5"), ["t.py"]),
    ("calibrate", "margin-db", "number of decibels, at least 0", ("-3", "x", "nan", "inf"), ["t.py"]),
    ("verify", "seed", "whole number, at least 0", ("-1", "x", "1.5"), ["lumina2"]),
    ("verify", "seed", "whole number, at most 9223372036854775807", (str(2**63),), ["lumina2"]),
    ("verify", "steps", "whole number, at least 1", ("0", "-1"), ["lumina2"]),
    *(
        ("plan", name, "whole number, at least 1", ("0", "-8", "x"), ["lumina2"])
        for name in ("height", "width", "steps")
    ),
)
"""Command, option, what its value is, what isn't, and the rest of the command line."""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required"),
        (["fly"], "'fly'"),
        (["show"], "SESSION.json"),
        (["show", "a.json", "--format", "html"], "'html'"),
        (["judge", "one.json"], "OLD.json"),
        (["check", "nowhere"], "nowhere: doesn't exist"),
        (["show", "nowhere.json"], "nowhere.json: doesn't exist"),
        (["env", "main", '--pip="'], "--pip '\"' can't be split into words (no closing quotation)"),
        *(
            (
                [command, f"--{option}={value}", *more],
                f"--{option}: is a {what}, not '{value}'. See diffbench {command}",
            )
            for command, option, what, values, more in NUMBERS
            for value in values
        ),
        (["sho", "a.json"], "(did you mean 'show'?)"),
        (["show", "a.json", "--format", "markdwn"], "(did you mean 'markdown'?)"),
        (["table", "a.json", "--format", "latx"], "(did you mean 'latex'?)"),
        (["judge", "a.json", "b.json", "--gates", "tyme"], "(did you mean 'time'?), not 'tyme'"),
        (["bisect", "a", "b", "--gates", "work,tyme", "--", "t.py"], "(did you mean 'time'?), not 'work,tyme'"),
        (["calibrate", "--metrics=flop", "t.py"], "(did you mean 'flip'?), not 'flop'"),
        (["calibrate", "--dtypes=bf16,flot32", "t.py"], "dtype='flot32' isn't known (did you mean 'float32'?)"),
        (["calibrate", "--threads=1,many", "t.py"], "--threads: is a whole number, at least 1, not 'many'"),
        (["calibrate", "--json=.", "t.py"], "--json .: can't be written: it is a folder. Name another file."),
        (["verify", "lumnia2"], "no such model or folder (did you mean 'lumina2'?)"),
        (["verify", "lumina2", "--only=bach"], "--only: there is no invariant 'bach' (did you mean 'batch'?)"),
        (["verify", "lumina2", "--waive=batch.prompt"], "'batch.prompt' (did you mean 'batch.prompts'?)"),
        (["verify", "lumina2", "--weights=minni"], "(did you mean 'mini'?)"),
    ],
)
def test_wrong_usage_is_a_single_line_and_status_2(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("diffbench: ")
    assert err.count("\n") == 1
    assert said in err


@pytest.mark.parametrize(("option", "said"), [("--version", __version__), ("--help", "COMMAND")])
def test_version_and_help(option: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([option]) == 0
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("command", SETTINGS)
def test_messages_call_settings_as_the_command_does(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, *(["list"] if command == "history" else []), "--help"]) == 0
    takes = capsys.readouterr().out
    for setting, called in SETTINGS[command].items():
        assert called in takes
        assert setting in Settings.__dataclass_fields__


def test_a_setting_is_called_as_the_running_program_does() -> None:
    assert option("lpips_backbone") == "--diffbench-lpips-backbone"
    with as_command({"history": "--db"}):
        assert (option("history"), option("device")) == ("--db", "pytest --diffbench-device")
    assert option("history") == "--diffbench-history"


def test_runs_where_torch_and_pytest_are_missing(tmp_path: Path) -> None:
    path = written(tmp_path / "session.json", make.red())
    code = (
        "import sys\n"
        "for name in ('torch', 'pytest', 'diffusers', 'transformers'): sys.modules[name] = None\n"
        "from pytest_diffbench.commands.main import main\n"
        f"print([main(['models']), main(['show', {path!r}]), main(['judge', {path!r}, {path!r}])])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.endswith("[0, 0, 1]\n")  # the guidance of one case is worse, whatever it is held against


def test_output_to_an_ascii_pipe_is_ascii(tmp_path: Path) -> None:
    path = written(tmp_path / "session.json", make.red())
    done = subprocess.run(
        [sys.executable, "-m", "pytest_diffbench.commands.main", "show", path],
        capture_output=True,
        check=True,
        env={"PYTHONIOENCODING": "ascii", "COLUMNS": "100"},
    )
    assert done.stdout.isascii()
    assert b"\x1b" not in done.stdout


def test_a_reader_leaving_early_is_no_problem(tmp_path: Path) -> None:
    path = written(
        tmp_path / "session.json", make.session(*[make.report(report_records.lumina(f"t{i}")) for i in range(900)])
    )
    command = [sys.executable, "-m", "pytest_diffbench.commands.main", "show", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


# -- models


def test_models_are_listed_with_their_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    out = capsys.readouterr().out
    for name, model in MODELS.items():
        assert any(line.startswith(f"{name} ") and model.hub_id in line for line in out.splitlines())
    assert "num_inference_steps=30" in out
    assert all(len(line) <= 100 for line in out.splitlines())


# -- show


@pytest.mark.parametrize("session", [make.all_pass(), make.red(), make.interrupted(), make.empty()])
def test_show_says_what_the_session_said(
    session: SessionReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "session.json", session)
    assert cli.main(["show", path]) == 0
    assert capsys.readouterr().out == plain(summary_lines(session, 100, verbose=False))
    assert cli.main(["show", path, "-v"]) == 0
    assert capsys.readouterr().out == plain(summary_lines(session, 100, verbose=True))
    assert cli.main(["show", path, "--format", "markdown"]) == 0
    assert capsys.readouterr().out == comment.page(session, comment.Links())


# -- judge


def test_a_session_is_the_same_against_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "session.json", make.all_pass())
    assert cli.main(["judge", path, path]) == 0
    out = capsys.readouterr().out
    assert "output.same_bits" in out
    assert "worse" not in out


def test_more_work_is_worse_and_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = written(tmp_path / "old.json", make.session(make.report(report_records.lumina("t", steps=20))))
    observation = report_records.lumina("t", steps=20)
    assert observation.work is not None
    more = msgspec.structs.replace(
        observation.work, component_calls=observation.work.component_calls | {"vae.decode": 2}
    )
    changed = msgspec.structs.replace(observation, work=more)
    new = written(tmp_path / "new.json", make.session(make.report(changed)))
    assert cli.main(["judge", new, old]) == 1
    assert "work.component_calls" in capsys.readouterr().out


def test_several_runs_of_a_case_form_a_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [faster_by(report_records.flux("t"), factor) for factor in (1.0, 1.002, 0.998)]
    old = written(tmp_path / "old.json", make.session(*map(make.report, runs)))
    same = written(tmp_path / "same.json", make.session(make.report(report_records.flux("t"))))
    assert cli.main(["judge", same, old]) == 0
    assert "time.same" in capsys.readouterr().out
    slower = make.report(faster_by(report_records.flux("t"), 0.8))
    alone = written(tmp_path / "alone.json", make.session(slower))
    assert cli.main(["judge", alone, old]) == 0
    assert "time.unconfirmed" in capsys.readouterr().out
    confirmed = msgspec.structs.replace(slower, confirmations=(slower.observation.run,) * 2)
    slow = written(tmp_path / "slow.json", make.session(confirmed))
    assert cli.main(["judge", slow, old]) == 1
    assert "time.slower" in capsys.readouterr().out


def test_cases_on_a_single_side_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, two, three = (make.report(report_records.lumina(f"test_{i}")) for i in range(3))
    new = written(tmp_path / "new.json", make.session(first, two))
    old = written(tmp_path / "old.json", make.session(two, three))
    assert cli.main(["judge", new, old]) == 0
    out = capsys.readouterr().out
    assert f"only new      {report_records.FILE}::test_0\n" in out
    assert f"only old      {report_records.FILE}::test_2\n" in out
    assert "diffbench-save" not in out.partition("only new")[2]


def test_unfinished_runs_are_no_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = make.interrupted()
    unfinished = written(tmp_path / "old.json", make.session(session.cases[1]))
    new = written(tmp_path / "new.json", session)
    assert cli.main(["judge", new, unfinished]) == 2
    assert "nothing can be judged" in capsys.readouterr().err


def test_changed_software_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    observation = report_records.flux("t")
    environment = msgspec.structs.replace(
        report_records.gpu(), software=report_records.gpu().software | {"torch": "2.12.0"}
    )
    before = msgspec.structs.replace(
        observation, run=msgspec.structs.replace(observation.run, environment=environment)
    )
    old = written(tmp_path / "old.json", make.session(make.report(before)))
    new = written(tmp_path / "new.json", make.session(make.report(observation)))
    assert cli.main(["judge", new, old]) == 0
    assert "changed since torch 2.12.0 -> 2.13.0\n" in capsys.readouterr().out


# -- check


@pytest.fixture
def baselines(tmp_path: Path) -> Path:
    root = tmp_path / "baselines"
    pixels = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    image = ImageFacts(width_px=128, height_px=128, mode="RGB", constant=False, digest=image_digest(pixels))
    for name in ("one", "two"):
        observation = report_records.lumina(name)
        assert observation.output is not None
        observation = msgspec.structs.replace(
            observation, output=msgspec.structs.replace(observation.output, images=(image,))
        )
        Store(root).save(observation, Artifacts(images=(pixels,)), None, False)
    return root


def test_check_reads_every_baseline(baselines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(baselines)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("ok   ") and line.endswith("generation 1, 1 run") for line in lines)
    assert last.startswith("2 baselines in ")
    assert last.endswith(": 2 ok, 0 bad")


@pytest.mark.parametrize(("file", "data"), [("baseline.json", b"{"), ("image-0.png", b"no image")])
def test_check_names_what_is_bad_and_goes_on(
    file: str, data: bytes, baselines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = next(Store(baselines).entries())
    (first / file).write_bytes(data)
    assert cli.main(["check", str(baselines)]) == 1
    bad, good, last = capsys.readouterr().out.splitlines()
    assert bad.startswith("bad  ")
    assert file in bad
    assert good.startswith("ok   ")
    assert last.endswith(": 1 ok, 1 bad")


def test_check_of_nothing_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(tmp_path)]) == 2
    assert "holds no baseline" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert cli.main(["check", str(tmp_path / "file")]) == 2
    assert "isn't a folder" in capsys.readouterr().err
