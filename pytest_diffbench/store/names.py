"""The folder that a case's baseline lies in."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_diffbench.records import Case

_LONGEST_NAME = 100
_LONGEST_DTYPE = 16
_DIGEST_BYTES = 6

# Windows takes these for devices, whatever follows a dot.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def case_folder(case: Case) -> str:
    """Name a case's folder: `<test>-<weights>-<dtype>-<hash>`, readable and safe on every file system.

    The hash covers test id, model, weights, dtype, offload and tuning, so that two cases never share a folder, not
    even where file systems ignore case or normalise Unicode. Other parts of the definition don't name the
    folder: a case whose prompt or steps changed finds its old baseline, and can tell that its definition changed.

    Returns:
        At most 100 characters out of `a-z`, `0-9`, `.`, `_` and `-`; no dot at either end.
    """
    definition = case.definition
    # Not which LoRA: one that was trained anew finds its old baseline, as other weights do.
    tuning = [
        option if option == "lora" else f"{option}={value}" for option, value in sorted(definition.tuning.items())
    ]
    digest = _digest(case.id, definition.model, definition.weights, definition.dtype, definition.offload, *tuning)
    tail = f"-{definition.weights}-{_slug(definition.dtype)[:_LONGEST_DTYPE]}-{digest}"
    return _readable(case.id, _LONGEST_NAME - len(tail)) + tail


def _digest(*parts: str | None) -> str:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        # Lengths keep ("ab", "c") and ("a", "bc") apart; lone surrogates can stand in a test's id.
        data = b"" if part is None else part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % (-1 if part is None else len(data)) + data)
    return digest.hexdigest()


def _readable(test_id: str, length: int) -> str:
    """What a person would call the test: file, name, parameters; where there is no room, less of it."""
    where, bracket, parameters = test_id.partition("[")
    path, *names = where.split("::")
    file = _slug(re.split(r"[/\\]", path)[-1].removesuffix(".py"))
    test = _slug(names[-1]) if names else ""
    what = _slug(parameters) if bracket else ""
    name = _joined(file, test, what)
    if len(name) > length and test:
        name = _joined(test, what)
    if len(name) > length:
        end = what[-(length // 2) :].strip("-._")
        name = _joined((test or file)[: length - len(end) - 1].strip("-._"), end)
    name = name or "case"
    return f"case-{name}"[:length] if _RESERVED.match(name) else name


def _joined(*parts: str) -> str:
    return "-".join(part for part in parts if part)


def _slug(text: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9._]+", "-", ascii_only.lower()).strip("-._")
