"""The names that users import: each is there, none costs anything before it is used, and docs use no others."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_diffbench

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "docs").rglob("*.py"))]
HISTORY = {"decisions.md"}


@pytest.mark.parametrize("name", pytest_diffbench.__all__)
def test_every_public_name_is_exported(name: str) -> None:
    assert getattr(pytest_diffbench, name) is not None
    assert name in dir(pytest_diffbench)


def test_an_unknown_name_is_refused_with_the_known_names() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'Variants'\. It exports .*Variant"):
        pytest_diffbench.Variants  # noqa: B018


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import pytest_diffbench; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "numpy", "msgspec", "pytest", "pytest_diffbench.records"}
    assert not any(repr(name) in done.stdout for name in heavy), done.stdout


def test_docs_name_all_exports_and_import_no_others() -> None:
    pages = {page.name: page.read_text(encoding="utf-8") for page in PAGES if page.name not in HISTORY}
    imported = [
        (page, match[0])
        for page, text in pages.items()
        for match in re.finditer(r"from pytest_diffbench\.\S+ import .*|import pytest_diffbench\.\S+", text)
    ]
    assert imported == []
    text_of_pages = "\n".join(pages.values())
    assert [name for name in pytest_diffbench.__all__ if not re.search(rf"\b{name}\b", text_of_pages)] == []
