"""Every use of what pytest keeps private, so that a new pytest breaks one module, and its tests say which line.

Tested with the oldest and the newest pytest that the package supports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    import pytest


def argument_parser(config: pytest.Config) -> argparse.ArgumentParser:
    """The parser that knows the options of all plugins. Without it their values can't be told from paths."""
    parser: Any = config._parser
    known: argparse.ArgumentParser = getattr(parser, "optparser", None) or parser._getparser()
    return known


def terminal_width(reporter: pytest.TerminalReporter) -> int:
    """Characters in a line of the terminal."""
    return reporter._tw.fullwidth


def terminal_encoding(reporter: pytest.TerminalReporter) -> str | None:
    """Encoding of what the terminal reporter writes to."""
    return getattr(reporter._tw._file, "encoding", None)


def has_failed_quietly(item: pytest.Item) -> bool:
    """Whether a test failed without raising: unittest's failures are kept at the item."""
    return bool(getattr(item, "_excinfo", None))


def argument_names(item: pytest.Item) -> Sequence[str]:
    """Fixtures that a test function itself takes, those of other fixtures apart."""
    info = getattr(item, "_fixtureinfo", None)
    return info.argnames if info is not None else ()


def fixture_definitions(item: pytest.Item) -> dict[str, Sequence[Any]]:
    """Definitions of the fixtures that a test uses, by name, with their `scope` and `cached_result`."""
    definitions: dict[str, Sequence[Any]] = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    return definitions
