"""The command line of a measuring process, made from that of the session that starts it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

Takes: TypeAlias = Literal["nothing", "one", "perhaps", "many"]
"""How many values follow an option on the command line."""

_DROPPED = frozenset(
    {
        # said anew for each process
        *("rootdir", "inifilename", "confcutdir", "basetemp", "pyargs", "capture"),
        # what only concerns the session: its verdicts, its own further processes
        *(
            "diffbench",
            "diffbench_save",
            "diffbench_json",
            "diffbench_strict",
            "diffbench_require",
            "diffbench_confirm",
        ),
        *("diffbench_max_time", "diffbench_against", "diffbench_pairs", "diffbench_turns", "diffbench_selftest"),
        *("diffbench_profile", "diffbench_images", "diffbench_report", "diffbench_history"),
        # which tests run, beyond those that are named: a cache of its own has no last failures
        *("lf", "failedfirst", "newfirst", "last_failed_no_failures", "cacheclear"),
        *("stepwise", "stepwise_skip", "stepwise_reset"),
        # a debugger waits for somebody who isn't there; one failure must not hide the results of others
        *("usepdb", "usepdb_cls", "trace", "maxfail"),
        # several processes at once (pytest-xdist)
        *("numprocesses", "maxprocesses", "dist", "distload", "tx", "px", "looponfail", "rsyncdir", "rsyncignore"),
        *("maxworkerrestart", "testrunuid", "loadscopereorder"),
        # reports that the session writes (pytest, pytest-html, pytest-json-report, pytest-reportlog)
        *("xmlpath", "junitprefix", "htmlpath", "self_contained_html", "report_log", "pastebin", "log_file"),
        "debug",
        *("benchmark_json", "benchmark_save", "benchmark_save_data", "benchmark_autosave", "benchmark_compare"),
        # the same test once more (pytest-rerunfailures, pytest-retry, flaky, pytest-repeat): one run a process
        *("reruns", "force_reruns", "fail_on_flaky", "retries", "force_flaky", "count"),
        *("benchmark_compare_fail", "benchmark_histogram", "benchmark_cprofile", "benchmark_cprofile_dump"),
    }
)
"""Options that a measuring process doesn't get, by the name under which pytest keeps their value."""

_DROPPED_FAMILIES = ("cov_", "json_report", "no_cov")
"""Beginnings of such names: coverage is the session's, and slows down."""


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One option that pytest knows, whoever declared it."""

    names: tuple[str, ...]
    dest: str
    takes: Takes

    @property
    def is_dropped(self) -> bool:
        """Whether a measuring process goes without it."""
        return self.dest in _DROPPED or self.dest.startswith(_DROPPED_FAMILIES)


def options_of(parser: argparse.ArgumentParser) -> list[Option]:
    """All options of a parser."""
    return [
        Option(tuple(action.option_strings), action.dest, _takes(action.nargs))
        for action in parser._actions
        if action.option_strings
    ]


def _takes(nargs: int | str | None) -> Takes:
    if nargs is None or nargs == 1:
        return "one"
    if nargs == 0:
        return "nothing"
    return "perhaps" if nargs == "?" else "many"


def kept_arguments(arguments: Sequence[str], options: Iterable[Option]) -> list[str]:
    """The options of a command line that hold for a measuring process too: no paths, no reports, no parallel workers.

    Args:
        arguments: as they were typed, those of the ini file and of `PYTEST_ADDOPTS` before them.
        options: all that pytest knows. An option that it doesn't know is kept as one that takes no value.
    """
    known = {name: option for option in options for name in option.names}
    kept: list[str] = []
    words = list(_without_files(arguments))
    while words:
        word = words.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, _ = word.partition("=")
            option = known.get(name)
            whole = [word, *([] if equals else _values(option, words))]
        elif word.startswith("-") and len(word) > 1:
            option, whole = _short(word, known, words)
            if len(whole) == 0:  # a cluster such as -xvs, taken apart
                continue
        else:
            continue  # a path
        if option is None or not option.is_dropped:
            kept += whole
    return kept


def _values(option: Option | None, words: list[str]) -> list[str]:
    """Take the values of an option from what follows it."""
    takes = option.takes if option is not None else "nothing"
    if takes == "one" and words:
        return [words.pop(0)]
    values: list[str] = []
    while takes in ("perhaps", "many") and words and not words[0].startswith("-"):
        values.append(words.pop(0))
        if takes == "perhaps":
            break
    return values


def _short(word: str, known: dict[str, Option], words: list[str]) -> tuple[Option | None, list[str]]:
    """One short option with its value; of a cluster the first is answered, and the rest put back."""
    if word in known:  # also long ones with a single dash
        return known[word], [word, *_values(known[word], words)]
    option = known.get(word[:2])
    if option is not None and option.takes == "nothing" and len(word) > 2:
        words[:0] = [word[:2], f"-{word[2:]}"]
        return None, []
    return option, [word]


def _without_files(arguments: Iterable[str]) -> Iterator[str]:
    """Arguments with each `@file` replaced by the lines of that file, as argparse does."""
    for word in arguments:
        if word.startswith("@") and len(word) > 1:
            with open(word[1:], encoding="utf-8") as file:  # noqa: PTH123  # relative to the shell's folder, as typed
                yield from _without_files(file.read().splitlines())
        else:
            yield word
