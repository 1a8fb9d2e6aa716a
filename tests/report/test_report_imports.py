"""Reports and the command work where torch and pytest aren't installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "pytest_diffbench"


def test_nothing_heavy_is_imported() -> None:
    modules = [f"pytest_diffbench.report.{path.stem}" for path in sorted((PACKAGE / "report").glob("[!_]*.py"))]
    code = (
        "import sys\n"
        f"import {', '.join(modules)}, pytest_diffbench.commands.main\n"
        "heavy = {'torch', 'pytest', '_pytest', 'numpy', 'scipy', 'PIL', 'diffusers', 'transformers', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_help_imports_neither_gates_nor_records() -> None:
    code = (
        "import sys\n"
        "from pytest_diffbench.commands.main import main\n"
        "main(['--help'])\n"
        "rooms = {name.split('.')[1] for name in sys.modules if name.startswith('pytest_diffbench.')}\n"
        "print(sorted(rooms))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['commands', 'errors']"


def test_a_history_is_looked_at_without_the_gates() -> None:
    code = (
        "import sys\n"
        "import pytest_diffbench.judge.trend, pytest_diffbench.store.history\n"
        "heavy = {'pytest_diffbench.judge.judging', 'pytest_diffbench.store.store', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
