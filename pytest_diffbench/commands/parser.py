"""What the `diffbench` command takes: a parser for each of its subcommands."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from pytest_diffbench import __version__
from pytest_diffbench.errors import DiffbenchError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_Value = TypeVar("_Value")

EXCHANGED = ("bencher", "github-action-benchmark", "json-lines")
"""Formats of other tools, see `report.exchange`."""

FORMATS = ("terminal", "markdown", "json", "github", *EXCHANGED)

SETTINGS: dict[str, dict[str, str]] = {
    "check": {"baselines": "BASELINES"},
    "plan": {"models": "MODEL|FOLDER", "dtype": "--dtype"},
    "verify": {
        **{"models": "MODEL|FOLDER", "weights": "--weights"},
        **{"device": "--device", "dtype": "--dtype"},
    },
    "judge": {"baselines": "BASELINES"},
    "accept": {"baselines": "--baselines"},
    "diff": {"baselines": "FOLDER"},
    "history": {"history": "--db"},
    "trend": {"history": "--db"},
    "comment": {"history": "--history"},
    "report": {"baselines": "--baselines", "history": "--history"},
}
"""By command: what it calls settings of pytest, see `errors.option`."""


class Parser(argparse.ArgumentParser):
    """Tells of wrong usage in one line."""

    def error(self, message: str) -> NoReturn:
        raise DiffbenchError(f"{message}. See {self.prog} --help.")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse does, with the nearest choice."""
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += did_you_mean(str(value), action.choices or ())
            raise


def checked(parse: Callable[[Any], _Value]) -> Callable[[str], _Value]:
    """A check of `settings.values` as the type of an argument, so that the command says the same as pytest."""

    def convert(text: str) -> _Value:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{error}, not {text!r}") from None

    return convert


def parser(
    runs: Mapping[str, Callable[[argparse.Namespace], int]], words: Collection[str] | None = None
) -> argparse.ArgumentParser:
    """The command's parser.

    Args:
        runs: what runs each subcommand, by name.
        words: of the command line. What a subcommand takes is declared where its name is among them: imports for all
            would take longer than most commands. None for all.
    """
    whole = Parser(prog="diffbench", description="Work with baselines and results of pytest-diffbench.")
    whole.add_argument("--version", action="version", version=f"diffbench {__version__}")
    commands = whole.add_subparsers(metavar="COMMAND", required=True)
    for name, (what, declare) in _COMMANDS.items():
        command = commands.add_parser(name, help=what)
        if words is None or name in words:
            _declare(command, declare)
        command.set_defaults(run=runs[name], settings=SETTINGS.get(name, {}))
    return whole


def _declare(command: argparse.ArgumentParser, declare: str | Callable[[argparse.ArgumentParser], None]) -> None:
    if isinstance(declare, str):
        module, _, name = declare.partition(":")
        function: Callable[[argparse.ArgumentParser], None] = getattr(
            import_module(f"pytest_diffbench.commands.{module}"), name
        )
        function(command)
    else:
        declare(command)


def _add_models(_: argparse.ArgumentParser) -> None:
    pass


def _add_check(check: argparse.ArgumentParser) -> None:
    check.add_argument(
        "baselines",
        metavar="BASELINES",
        nargs="?",
        type=Path,
        default=Path("baselines"),
        help="folder of the baselines (default: baselines)",
    )


def _add_show(show: argparse.ArgumentParser) -> None:
    show.add_argument(
        "session", metavar="SESSION.json", type=Path, help="session, written by pytest --diffbench-json"
    )
    show.add_argument("--format", choices=FORMATS, default="terminal")
    show.add_argument("-v", "--verbose", action="store_true", help="also show the messages of gates that passed")


def _add_answer(answer: argparse.ArgumentParser) -> None:
    answer.add_argument(
        "session", metavar="RESULT.json", type=Path, help="session, written by pytest --diffbench-json"
    )
    answer.add_argument("--json", action="store_true", help="print the reasons of each case, too")


def _add_env(env: argparse.ArgumentParser) -> None:
    env.add_argument(
        "what", metavar="REVISION|REQUIREMENTS.txt", help="git revision of the project, or a requirements file"
    )
    env.add_argument("--into", metavar="DIR", type=Path, help="folder to create (default: .diffbench/env-...)")
    env.add_argument(
        "--pip", metavar="ARGUMENTS", default="", help='arguments for pip install, such as --pip="--no-index"'
    )


def _add_calibrate(calibrate: argparse.ArgumentParser) -> None:
    from pytest_diffbench.settings.options import METRICS
    from pytest_diffbench.settings.values import choices, decibels, whole

    calibrate.add_argument("tests", metavar="TEST", nargs="+", help="node ids or other arguments for pytest")
    calibrate.add_argument(
        "--runs", type=checked(whole(2)), default=5, metavar="N", help="runs of each test as it is (default: 5)"
    )
    for name, what, parse in (
        ("dtypes", "dtypes", str),
        ("threads", "numbers of threads", whole(1, 1024)),
        ("attention", "diffusers' attention backends", str),
    ):
        calibrate.add_argument(
            f"--{name}",
            type=each(parse),
            default=[],
            metavar="LIST",
            help=f"{what} to run with as well, separated by commas",
        )
    calibrate.add_argument(
        "--margin-db",
        type=checked(decibels),
        default=3.0,
        metavar="DB",
        help="margin over the worst run, in dB (default: 3)",
    )
    calibrate.add_argument(
        "--metrics",
        type=checked(choices("metrics", *METRICS)),
        default=[],
        metavar="LIST",
        help="further metrics, separated by commas: flip, ssimulacra2, lpips",
    )
    calibrate.add_argument("--lpips-backbone", type=Path, metavar="FILE", help="weights of AlexNet for lpips")
    calibrate.add_argument("--json", type=Path, metavar="FILE", help="write the evidence to FILE")


def each(parse: Callable[[Any], Any]) -> Callable[[str], list[str]]:
    """A list, separated by commas, of what a check of `settings.values` takes; as it was typed."""

    def convert(text: str) -> list[str]:
        names = [name for part in text.split(",") if (name := part.strip())]
        for name in names:
            checked(parse)(name)
        return names

    return convert


_COMMANDS: dict[str, tuple[str, str | Callable[[argparse.ArgumentParser], None]]] = {
    "models": ("list the models that tests can name", _add_models),
    "check": ("check every baseline, including images and traces", _add_check),
    "show": ("show a session written by pytest --diffbench-json", _add_show),
    "plan": ("count the work of a full-size pipeline, without weights or a GPU", "plan:add_arguments"),
    "verify": ("look for what is wrong with a pipeline, without any baseline", "verify:add_arguments"),
    "judge": ("judge a stored session against another one, or against baselines", "judge:add_arguments"),
    "accept": ("make baselines of what sessions have measured, without a rerun", "accept:add_arguments"),
    "diff": ("show what changed between two folders or git revisions of baselines", "diff:add_arguments"),
    "history": ("keep the figures of many sessions, and look at them", "history:add_arguments"),
    "trend": ("show since when figures of a history are others", "history:add_trend_arguments"),
    "comment": ("write the body of the one comment on a pull request", "comment:add_arguments"),
    "report": ("make a page to look at of stored sessions", "report:add_arguments"),
    "table": ("set out compared variants as a table to publish", "report:add_table_arguments"),
    "answer": ("say in one word what became of an optimisation, for programs", _add_answer),
    "env": ("make an environment for pytest --diffbench-against, and print its Python", _add_env),
    "bisect": ("find the commit, or version of a package, at which tests got worse", "bisect:add_arguments"),
    "calibrate": ("measure which output tolerance each test needs, and propose it", _add_calibrate),
}
"""By name, in the order of the help: what a subcommand does, and what declares its arguments: a function here, or
`module:function` of one that is imported when its subcommand is asked for."""
