"""The pages say what the code does: tables equal the settings, examples are files, and the files run."""

from __future__ import annotations

import argparse
import dataclasses
import re
from pathlib import Path

import pytest

from pytest_diffbench.commands import main as cli
from pytest_diffbench.commands.parser import parser
from pytest_diffbench.judge.reasons import FORMER_NAMES, REASONS
from pytest_diffbench.session.result import Result
from pytest_diffbench.settings import options

DOCS = Path(__file__).parent.parent / "docs"
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
SETTINGS = dataclasses.fields(options.Settings)
COMMANDS: dict[str, argparse.ArgumentParser] = {
    name: parser
    for action in parser(cli._RUNS)._actions
    if isinstance(action, argparse._SubParsersAction)
    for name, parser in action.choices.items()
}


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def default_text(field: dataclasses.Field[object]) -> str:
    """A default as the tables write it."""
    match field.default:
        case None | ():
            return ""
        case bool(value):
            return "on" if value else "off"
        case tuple(value):
            return f"`{','.join(value)}`"
        case value:
            return f"`{value}`"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(line)} |" for line in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def settings_table() -> str:
    """Every setting with its sources."""
    rows: list[tuple[str, ...]] = []
    for field in SETTINGS:
        sources, metavar = field.metadata["sources"], field.metadata["metavar"]
        option = f"`{options.flag(field.name)}{f' {metavar}' if metavar else ''}`"
        rows.append(
            (
                option if "c" in sources else "",
                f"`{field.name}`" if "m" in sources else "",
                f"`diffbench_{field.name}`" if "i" in sources else "",
                default_text(field),
                field.metadata["help"],
            )
        )
    return table(("command line", "marker", "ini file", "default", "meaning"), rows)


def marker_table() -> str:
    """The marker's arguments."""
    rows: list[tuple[str, ...]] = [
        (f"`{field.name}`", default_text(field), field.metadata["help"])
        for field in SETTINGS
        if "m" in field.metadata["sources"]
    ]
    return table(("argument", "default", "meaning"), rows)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("options.md", settings_table()), ("writing-benchmarks.md", marker_table())],
    ids=["settings", "marker"],
)
def test_a_table_matches_the_settings(name: str, expected: str) -> None:
    assert expected in page(name), f"docs/{name} lacks this table:\n{expected}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_option_on_a_page_exists(path: Path) -> None:
    known = {"--diffbench", *map(options.flag, options.names("c"))}
    mentioned = set(re.findall(r"--diffbench(?:-[a-z][a-z-]*)?", path.read_text(encoding="utf-8")))
    assert mentioned <= known
    keys = set(re.findall(r"^diffbench_(\w+) =", path.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert keys <= set(options.names("i"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_the_options_are_on_a_page(name: str) -> None:
    pages = [text for path in PAGES if f"diffbench {name}" in (text := path.read_text(encoding="utf-8"))]
    assert pages, f"diffbench {name} stands on no page"
    for action in COMMANDS[name]._actions:
        for option in set(action.option_strings) - {"-h", "--help"}:
            whole_option = re.compile(rf"(?<![\w-]){option}(?![\w-])")
            assert any(whole_option.search(text) for text in pages), (
                f"diffbench {name} {option} stands on none of its pages"
            )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_between_pages_leads_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_index_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\((\w[\w-]*\.md)", page("index.md")))
    assert linked == {path.name for path in DOCS.glob("*.md")} - {"index.md"}


@pytest.mark.parametrize("name", ["../README.md", "red-test.md", "glossary.md", "quickstart.md"])
def test_every_reason_on_a_page_exists(name: str) -> None:
    gates = {code.partition(".")[0] for code in REASONS}
    named = re.findall(rf"(?<![\w.])((?:{'|'.join(sorted(gates))})\.[a-z]+(?:_[a-z]+)*)\b(?!/)", page(name))
    assert set(named) - {f"{gate}.md" for gate in gates} <= {*REASONS, *FORMER_NAMES.values()}


def test_the_page_shows_the_examples_unchanged() -> None:
    shown = re.findall(r"```python\n(.*?)```", page("writing-benchmarks.md"), flags=re.DOTALL)
    files = {path.name: path.read_text(encoding="utf-8") for path in EXAMPLES}
    assert len(files) >= 6
    named = [name for block in shown for name, text in files.items() if text == block]
    assert sorted(named) == sorted(files), "each file of docs/examples stands on the page once, to the letter"
    assert len(shown) == len(named), "a block of Python on the page is none of the files in docs/examples"


def test_every_property_of_a_result_is_on_the_page() -> None:
    names = {name for name, value in vars(Result).items() if isinstance(value, property)}
    documented = set(
        re.findall(r"^\| `(\w+)` \|", page("writing-benchmarks.md").partition("## The result")[2], re.MULTILINE)
    )
    assert documented == names | {field.name for field in dataclasses.fields(Result)}
