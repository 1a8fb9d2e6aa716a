"""What can go wrong, told so that a person can put it right.

Every error names the file or option, the field, the value that was found, and the remedy.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_command: Mapping[str, str] | None = None
"""What the running command calls settings; None in a session of pytest."""


@contextlib.contextmanager
def as_command(settings: Mapping[str, str]) -> Iterator[None]:
    """Within the block, messages are a command's: `option` gives its names of settings, by pytest's."""
    global _command  # noqa: PLW0603  # of the process, as the command line that it was started with is
    before, _command = _command, settings
    try:
        yield
    finally:
        _command = before


def option(setting: str) -> str:
    """What the program that runs calls a setting, for messages that pytest and the command `diffbench` share.

    Args:
        setting: by its name in `settings.options.Settings`.

    Returns:
        Of pytest its option. Of the command its own option or argument, or pytest's with its name in front.
    """
    pytests = f"--diffbench-{setting.replace('_', '-')}"
    return pytests if _command is None else _command.get(setting, f"pytest {pytests}")


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The nearest of the known names, in brackets and behind a space; nothing where none is near.

    Args:
        name: that isn't known. Upper and lower case count as the same.
        known: those there are.
        cutoff: how alike the two must be, from 0 to 1.
    """
    import difflib  # half a millisecond that idle sessions don't need

    by_lower = {text.lower(): text for text in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return f" (did you mean {by_lower[near[0]]!r}?)" if near else ""


class DiffbenchError(Exception):
    """Base of every error that this plugin raises on purpose."""


class OptionError(DiffbenchError):
    """A command-line option, ini value or marker argument that can't be used."""


class PipelineError(DiffbenchError):
    """A pipeline that can't be found, loaded or run."""


class MissingPipelineError(PipelineError):
    """A pipeline that isn't there, can't be had without leave, or can't be called by a ready-made benchmark.

    Nothing is broken.
    """


class MeasureError(DiffbenchError):
    """A measurement that can't be taken truthfully."""


class BaselineError(DiffbenchError):
    """A stored baseline that can't be read, trusted or written.

    Args:
        path: the file or folder in question.
        problem: what is wrong with it, with field and value.
        remedy: what the reader can do about it.
    """

    def __init__(self, path: object, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}. {remedy}")
        self.path = path
        self.problem = problem
        self.remedy = remedy
