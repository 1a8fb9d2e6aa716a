"""The `diffbench` command: looks at baselines and stored sessions, and makes environments to hold each other against.

It runs no pytest, and needs no torch.

Exit status: 0 when all is well, 1 when something is worse or bad, 2 when the command can't do what it was asked, and
3 when nothing is worse that could be judged, but not all that `judge` was asked for could.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from typing import TYPE_CHECKING

from pytest_diffbench.commands.parser import EXCHANGED, parser
from pytest_diffbench.errors import DiffbenchError, OptionError, as_command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from pytest_diffbench.records import SessionReport
    from pytest_diffbench.records.answer import Word
    from pytest_diffbench.report.lines import Line

FINE, WORSE, UNUSABLE, UNJUDGED = 0, 1, 2, 3
"""Exit statuses."""

ANSWERED: dict[Word, int] = {"faster": 0, "same": 10, "slower": 11, "inert": 12, "wrong": 13, "invalid": 14}
"""Those of `answer`; 1 to 3 stay what they are for all commands, so that a crash is never taken for an answer."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments without the program's name; the process's own by default.

    Returns:
        The exit status. Problems are one line on stderr each.
    """
    try:
        words = sys.argv[1:] if argv is None else list(argv)
        arguments = parser(_RUNS, words).parse_args(words)
        arguments.typed = words
        run: Callable[[argparse.Namespace], int] = arguments.run
        with as_command(arguments.settings):
            status = run(arguments)
        sys.stdout.flush()
    except SystemExit as stop:  # argparse, after --help and --version
        return FINE if stop.code in (None, 0) else UNUSABLE
    except DiffbenchError as error:
        _complain(str(error))
        return UNUSABLE
    except BrokenPipeError:
        # The reader went away, as `head` does. Nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    return status


def _width() -> int:
    """Columns of the terminal, or of the variable COLUMNS; 100 where neither is known."""
    return shutil.get_terminal_size((100, 24)).columns


def _print(lines: Iterable[Line]) -> None:
    """Write lines to stdout, coloured where that is a terminal."""
    from pytest_diffbench.report.lines import ansi, for_encoding, plain

    lines = for_encoding(lines, sys.stdout.encoding)
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    sys.stdout.write(ansi(lines) if coloured else plain(lines))


def _complain(message: str) -> None:
    """Write one line to stderr."""
    from pytest_diffbench.report.lines import encodable

    line = " ".join(message.split())
    print(encodable(f"diffbench: {line}", sys.stderr.encoding), file=sys.stderr)


def _models(_: argparse.Namespace) -> int:
    from pytest_diffbench.pipelines.registry import MODELS
    from pytest_diffbench.report.lines import flow, segment

    name_width = max((len(name) for name in MODELS), default=0) + 2
    lines: list[Line] = []
    for name, model in sorted(MODELS.items()):
        about = [
            model.pipeline_class,
            model.hub_id,
            model.licence + (" (to be accepted first)" if model.gated else ""),
        ]
        described = flow([[segment(text)] for text in about], _width(), name_width)
        described[0][0] = segment(f"{name:{name_width}}", "bold")
        recommended = [[segment(f"{key}={value}", "light")] for key, value in model.recommended.items()]
        lines += [*described, *flow(recommended, _width(), name_width, segment("  "))]
    _print(lines)
    return FINE


def _check(arguments: argparse.Namespace) -> int:
    from pytest_diffbench.report.lines import hang, segment
    from pytest_diffbench.report.sentences.output import tolerance_change
    from pytest_diffbench.report.units import format_count, format_seconds
    from pytest_diffbench.store import check

    root: Path = arguments.baselines
    if not root.is_dir():
        what = "isn't a folder" if root.exists() else "doesn't exist"
        raise DiffbenchError(f"{root}: {what}. Name the folder of the baselines.")
    begin_s = time.perf_counter()
    good = bad = stray = 0
    for checked in check(root):
        for fault in checked.faults:
            _print([[segment("bad  ", "red", "bold"), segment(" ".join(str(fault).split()))]])
        if checked.stray:
            stray += len(checked.faults)
        elif checked.faults or checked.baseline is None:
            bad += 1
        else:
            good += 1
            baseline = checked.baseline
            about = f"generation {baseline.generation}, {format_count(len(baseline.timed_runs), 'run')}"
            name = str(checked.folder.relative_to(root))
            _print([[segment("ok   ", "green"), segment(f"{name}  "), segment(about, "light")]])
            for change in baseline.tolerances:
                _print(hang([segment("     ")], tolerance_change(change), _width(), 5))
    if not good + bad + stray:
        # A check that looked at nothing must not look like one that found nothing wrong.
        raise DiffbenchError(f"{root}: holds no baseline. Name another folder, or add some: pytest --diffbench-save.")
    took = format_seconds(time.perf_counter() - begin_s)
    strays = f", {format_count(stray, 'file')} without a baseline" if stray else ""
    _print([[segment(f"{format_count(good + bad, 'baseline')} in {took}: {good} ok, {bad} bad{strays}", "bold")]])
    return WORSE if bad + stray else FINE


def _show(arguments: argparse.Namespace) -> int:
    from pytest_diffbench.commands import comment as comment_command
    from pytest_diffbench.report import comment, session_json
    from pytest_diffbench.report.lines import encodable
    from pytest_diffbench.report.terminal import summary_lines

    session = session_json.load(arguments.session)
    if arguments.format == "markdown":
        sys.stdout.write(encodable(comment.page(session, comment.Links()), sys.stdout.encoding))
    elif arguments.format == "json":
        sys.stdout.write(session_json.dump(session).decode())
    elif arguments.format == "github":
        sys.stdout.write(encodable(comment_command.annotated(session), sys.stdout.encoding))
    elif arguments.format in EXCHANGED:
        from pytest_diffbench.report import exchange

        write: Callable[[SessionReport], str] = getattr(exchange, arguments.format.replace("-", "_"))
        sys.stdout.write(encodable(write(session), sys.stdout.encoding))
    else:
        _print(summary_lines(session, _width(), arguments.verbose))
    return FINE


def _plan(arguments: argparse.Namespace) -> int:
    from pytest_diffbench.commands import plan as plan_command
    from pytest_diffbench.records import as_json
    from pytest_diffbench.report.plan import plan_lines

    plan = plan_command.plan(arguments)
    if arguments.json:
        sys.stdout.write(as_json(plan).decode())
    else:
        _print(plan_lines(plan, _width()))
    return FINE


def _verify(arguments: argparse.Namespace) -> int:
    from pytest_diffbench.commands import verify as verify_command
    from pytest_diffbench.records import as_json
    from pytest_diffbench.report.verification import verification_lines

    shown = sys.stderr.isatty()

    def progress(code: str, done: int, total: int) -> None:
        if shown:
            sys.stderr.write(f"\r\x1b[K{done}/{total} {code}")
            sys.stderr.flush()

    verification = verify_command.verify(arguments, progress)
    if shown:
        sys.stderr.write("\r\x1b[K")
    if verification is None:
        return FINE
    if arguments.json:
        sys.stdout.write(as_json(verification).decode())
    else:
        _print(verification_lines(verification, _width(), verbose=arguments.verbose))
    if verification.having("broken"):
        return WORSE
    decided = verification.having("holds") or verification.having("holds", waived=True)
    return FINE if decided or verification.having("broken", waived=True) else UNJUDGED


def _judge(arguments: argparse.Namespace) -> int:
    from pytest_diffbench.commands import judge as judge_command
    from pytest_diffbench.report.lines import hang, segment
    from pytest_diffbench.report.terminal import summary_lines

    judged = judge_command.judge(arguments)
    _print(summary_lines(judged.session, _width(), arguments.verbose))
    for label, markup, texts in (
        ("only new", ("cyan",), judged.only_new),
        ("only old", ("cyan",), judged.only_old),
        ("not judged", ("red", "bold"), judged.unjudged),
    ):
        for text in texts:
            _print(hang([segment(f"{label:14}", *markup)], text, _width(), 14))
    if arguments.report is not None:
        from pytest_diffbench.report.html import page

        print(page.write(arguments.report, [page.SessionSource(judged.session, judged.sides)]))
    if judged.session.counts.get("worse"):
        return WORSE
    return UNJUDGED if judged.unjudged else FINE


def _accept(arguments: argparse.Namespace) -> int:
    from pytest_diffbench.commands import accept as accept_command
    from pytest_diffbench.report.accepted import accepted_lines

    accepted = accept_command.accept(arguments)
    _print(accepted_lines(accepted, _width()))
    return WORSE if any(item.refused for item in accepted) else FINE


def _diff(arguments: argparse.Namespace) -> int:
    from pytest_diffbench.commands import diff as diff_command
    from pytest_diffbench.report.baseline_diff import diff_lines

    changes, page = diff_command.diff(arguments)
    _print(diff_lines(changes, _width()))
    if page is not None:
        print(page)
    return WORSE if changes and arguments.exit_code else FINE


def _history(arguments: argparse.Namespace) -> int:
    from pytest_diffbench.commands import history as history_command

    _print(history_command.history(arguments, _width()))
    return FINE


def _trend(arguments: argparse.Namespace) -> int:
    from pytest_diffbench.commands import history as history_command

    trends, series = history_command.trend(arguments)
    if arguments.json:
        import msgspec

        sys.stdout.write("".join(f"{msgspec.json.encode(trend).decode()}\n" for trend in trends))
    else:
        from pytest_diffbench.report.history import trend_lines

        _print(trend_lines(trends, series, _width()))
    return WORSE if arguments.exit_code and any(trend.worse for trend in trends) else FINE


def _comment(arguments: argparse.Namespace) -> int:
    from pytest_diffbench.commands import comment as comment_command
    from pytest_diffbench.report.lines import encodable

    sys.stdout.write(encodable(comment_command.comment(arguments), sys.stdout.encoding))
    return FINE


def _report(arguments: argparse.Namespace) -> int:
    from pytest_diffbench.commands import report as report_command

    print(report_command.report(arguments))
    return FINE


def _table(arguments: argparse.Namespace) -> int:
    from pytest_diffbench.commands import report as report_command
    from pytest_diffbench.report.lines import encodable
    from pytest_diffbench.report.table import table_lines, written

    found = report_command.comparisons(arguments)
    if arguments.format == "terminal":
        _print(line for comparison in found for line in table_lines(comparison))
    else:
        sys.stdout.write(encodable(written(found, arguments.format), sys.stdout.encoding))
    return FINE


def _answer(arguments: argparse.Namespace) -> int:
    from pytest_diffbench.judge.answer import answer
    from pytest_diffbench.records import as_json
    from pytest_diffbench.report import session_json

    found = answer(session_json.load(arguments.session))
    sys.stdout.write(as_json(found).decode() if arguments.json else f"{found.word}\n")
    return ANSWERED[found.word]


def _bisect(arguments: argparse.Namespace) -> int:
    from pytest_diffbench.commands import bisect as bisect_command
    from pytest_diffbench.report.lines import hang, segment
    from pytest_diffbench.report.units import format_count

    history, found = bisect_command.bisect(arguments, lambda *told: _complain(": ".join(filter(None, told))))
    head = [segment("first bad  ", "red", "bold")]
    _print(hang(head, history.named(found.first_bad), _width(), 11))
    _print(hang([segment("last good  ", "green")], history.named(found.last_good), _width(), 11))
    for finding in found.findings:
        head = [segment(f"{finding.gate:11}", "bold")]
        _print(hang(head, f"{finding.case}: {finding.reason}: {finding.message}", _width(), 11))
    if found.skipped:
        skipped = ", ".join(map(history.named, found.skipped))
        _print(hang([segment("or         ", "yellow")], f"{skipped}, which couldn't be judged", _width(), 11))
    _print(hang([segment("to see it  ", "light")], history.reproduce(found, arguments.tests), _width(), 11))
    _print([[segment(f"{format_count(found.runs, 'revision')} run", "light")]])
    return FINE


def _env(arguments: argparse.Namespace) -> int:
    from pytest_diffbench.workers.environment import make_environment

    try:
        pip_arguments = shlex.split(arguments.pip)
    except ValueError as error:
        reason = str(error).lower()
        raise DiffbenchError(
            f"--pip {arguments.pip!r} can't be split into words ({reason}). Close its quotes."
        ) from None
    print(make_environment(arguments.what, arguments.into, pip_arguments))
    return FINE


def _calibrate(arguments: argparse.Namespace) -> int:
    from pytest_diffbench.commands import calibrate
    from pytest_diffbench.pipelines.dtypes import check_dtype
    from pytest_diffbench.session.writable import in_the_way_of

    if arguments.json is not None and (why := in_the_way_of(arguments.json.absolute())) is not None:
        raise OptionError(f"--json {arguments.json}: can't be written: {why}. Name another file.")
    for dtype in arguments.dtypes:
        check_dtype(dtype)
    settings = calibrate.settings_of(arguments.runs, arguments.dtypes, arguments.threads, arguments.attention)
    metrics = calibrate.metrics_asked(arguments.metrics, arguments.lpips_backbone)
    proposals = calibrate.calibrate(arguments.tests, settings, arguments.margin_db, _complain, metrics)
    from pytest_diffbench.report.lines import segment

    for proposal in proposals:
        _print([[segment(text)] for text in calibrate.lines(proposal)])
    if arguments.json is not None:
        try:
            arguments.json.write_text(calibrate.written(proposals), encoding="utf-8")
        except OSError as error:
            raise DiffbenchError(
                f"{arguments.json}: can't be written: {error.strerror}. Name another file."
            ) from error
    return FINE


_RUNS: dict[str, Callable[[argparse.Namespace], int]] = {
    "models": _models,
    "check": _check,
    "show": _show,
    "plan": _plan,
    "verify": _verify,
    "judge": _judge,
    "accept": _accept,
    "diff": _diff,
    "history": _history,
    "trend": _trend,
    "comment": _comment,
    "report": _report,
    "table": _table,
    "answer": _answer,
    "env": _env,
    "bisect": _bisect,
    "calibrate": _calibrate,
}
"""What runs each subcommand."""


if __name__ == "__main__":
    sys.exit(main())
