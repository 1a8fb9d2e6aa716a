"""A second environment for tests: an interpreter of its own, over this one's packages, with a project of its own."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def make_environment(folder: Path, *sources: Path, libraries: bool = True) -> Path:
    """Make an environment without any download.

    Args:
        folder: that it is made in.
        *sources: folders that its packages are imported from first.
        libraries: give it this environment's packages, and this working tree's plugin.

    Returns:
        Its interpreter.
    """
    command = [sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    places = [*sources, *([ROOT, sysconfig.get_path("purelib")] if libraries else [])]
    (site_packages,) = folder.glob("[Ll]ib/**/site-packages")
    (site_packages / "packages.pth").write_text("\n".join(map(str, places)) + "\n", encoding="utf-8")
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
