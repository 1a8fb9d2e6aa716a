"""Identifiers that are pronouns or small words, and their share of all identifiers.

    python tools/pronouns.py [PATH ...] [--list]

An identifier is each place in the source where a name of the project's own is bound or used: variables, parameters,
functions, classes, attributes and keywords, each place counted. A name counts as a pronoun where one of its words,
cut at underscores and capitals, is in the list below.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import collections
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parent.parent
WORDS = frozenset(
    {
        *("one", "ones", "told", "seen", "found", "mine", "theirs", "made", "another", "each"),
        *("it", "its", "he", "she", "they", "them", "this", "that", "these", "those", "ours", "yours", "whatever"),
        *("thing", "things", "something", "somebody", "nobody", "which", "who", "whom", "whose"),
    }
)
"""Words that name nothing: whoever reads them has to look up what they stand for."""


def identifiers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every identifier in a syntax tree, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.Name():
                yield node.id, node.lineno
            case ast.Attribute():
                yield node.attr, node.end_lineno or node.lineno
            case ast.arg():
                yield node.arg, node.lineno
            case ast.keyword() if node.arg is not None:
                yield node.arg, node.value.lineno
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node.lineno
            case ast.ExceptHandler() if node.name is not None:
                yield node.name, node.lineno
            case ast.MatchAs() | ast.MatchStar() if node.name is not None:
                yield node.name, node.lineno


def is_pronoun(name: str) -> bool:
    """Whether a name, or a word of it, stands for nothing in particular."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
    return not hasattr(builtins, name) and any(word in WORDS for word in words)


def count(paths: Iterable[Path]) -> tuple[int, list[tuple[Path, int, str]]]:
    """Count all identifiers in files and folders, and list the pronouns among them: path, line, name."""
    total = 0
    pronouns: list[tuple[Path, int, str]] = []
    for path in sorted(file for given in paths for file in ([given] if given.is_file() else given.rglob("*.py"))):
        for name, line in identifiers(ast.parse(path.read_text(encoding="utf-8"))):
            total += 1
            if is_pronoun(name):
                pronouns.append((path, line, name))
    return total, pronouns


def main(argv: list[str] | None = None) -> int:
    """Print the share, and the names with `--list`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, default=[ROOT / "pytest_diffbench"])
    parser.add_argument("--list", action="store_true", help="print each place")
    options = parser.parse_args(argv)
    total, pronouns = count(options.paths)
    if options.list:
        print("\n".join(f"{path}:{line}: {name}" for path, line, name in pronouns))
    share = 1000 * len(pronouns) / max(total, 1)
    print(f"{len(pronouns)} of {total} identifiers are pronouns: {share:.1f} of 1,000")
    names = collections.Counter(name for _, _, name in pronouns)
    print(", ".join(f"{name} {times}" for name, times in names.most_common(40)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
