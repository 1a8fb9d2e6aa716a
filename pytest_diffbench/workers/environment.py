"""Makes another environment to hold this one against: these packages, and another state of the project or of some.

It is a venv that finds this environment's packages behind its own, by a `.pth` file. So gigabytes of torch are
neither downloaded nor copied, all that isn't asked for has the very same version, and what pip installs there stands
before it. `--system-site-packages` wouldn't do: it shows the packages of the interpreter that a venv was made from,
not those of the venv that this runs in.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_diffbench.errors import DiffbenchError
from pytest_diffbench.workers.interpreter import checked_interpreter
from pytest_diffbench.workers.launch import OTHER_PYTHONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FOLDER = Path(".diffbench")
"""Where environments lie unless another place is named, beside other things that are never committed."""

_PTH = "behind-its-own-packages.pth"
_PROVENANCE_FILE = "diffbench-env.json"
"""In an environment's folder, written last: what it was made from."""

_PINNED = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w., -]*\])?\s*={2,3}\s*[\w.!+-]+(\s*;.*)?(\s+--hash=\S+)*(\s+#.*)?")
"""A requirement that names one version, for good."""


def make_environment(what: str, into: Path | None, pip_arguments: Sequence[str] = ()) -> str:
    """Make an environment, or find the one that was made from the same before.

    Args:
        what: a revision of the git repository that the current folder is in, whose project is installed; or a file of
            requirements.
        into: the folder to make; one in `.diffbench` by default.
        pip_arguments: for `pip install`, such as `--no-index`.

    Returns:
        Path of its interpreter.

    Raises:
        DiffbenchError: it can't be made, and nothing is left of it; or the folder holds something else.
    """
    requirements = Path(what)
    commit = None if requirements.is_file() else _commit(what)
    folder = into or FOLDER / f"env-{commit[:12] if commit is not None else requirements.stem}"
    provenance = _provenance(commit, requirements, pip_arguments)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        _refuse_different(folder, provenance)
        return checked_interpreter(str(_python_in(folder)), Path.cwd())
    if into is None and not FOLDER.exists():
        FOLDER.mkdir()
        FOLDER.joinpath(".gitignore").write_text("*\n", encoding="utf-8")
    folder = Path(os.path.abspath(folder))  # noqa: PTH100  # links in it are somebody's choice
    try:
        python = _empty(folder)
        if commit is None:
            _install(python, ["-r", str(requirements)], pip_arguments)
        else:
            _install_revision(python, commit, pip_arguments)
        interpreter = checked_interpreter(str(python), Path.cwd())
        Path(folder, _PROVENANCE_FILE).write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
        return interpreter
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _provenance(commit: str | None, requirements: Path, pip_arguments: Sequence[str]) -> dict[str, list[str]]:
    """What an environment's packages depend on."""
    if commit is None:
        text = requirements.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ")
        lines = [stripped for line in text.splitlines() if (stripped := line.strip()) and stripped[0] != "#"]
        what = {"requirements": lines}
    else:
        what = {"commit": [commit], "project": ["/".join(_project())]}
    return what | {"pip arguments": list(pip_arguments), "packages behind it": _own_packages()}


def _refuse_different(folder: Path, wanted: Mapping[str, list[str]]) -> None:
    """Refuse a folder that may hold something else than what would be made now."""
    try:
        recorded = json.loads(Path(folder, _PROVENANCE_FILE).read_text(encoding="utf-8"))
        other = next((name for name in wanted if recorded.get(name) != wanted[name]), None)
    except (OSError, ValueError, AttributeError):
        why = "and doesn't say what it was made from"
    else:
        loose = [line for line in wanted.get("requirements", ()) if not _PINNED.fullmatch(line)]
        if other is not None:
            before, now = (
                ", ".join(map(str, provenance.get(other) or ["none"])) for provenance in (recorded, wanted)
            )
            why = f"made with {other} {before}, not {now}"
        elif loose:
            why = f"and {loose[0]!r} may mean another package than when it was made"
        else:
            return
    raise DiffbenchError(f"{folder}: exists already, {why}. Remove it, or name another folder with --into.")


def _commit(revision: str) -> str:
    """The commit that a revision names."""
    done = _git("rev-parse", "--quiet", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    if done.returncode:
        why = done.stderr.strip().splitlines()
        raise DiffbenchError(
            f"{revision}: is neither a requirements file nor a revision of the git repository in {Path.cwd()}"
            f"{f' ({why[-1]})' if why else ''}. Name a file, or a revision such as main, v1.2 or HEAD~1; fetch it "
            "first if the repository was cloned without its history."
        )
    return done.stdout.strip()


def _project() -> tuple[str, str]:
    """The repository's top folder, and the way from there to the current one."""
    root, prefix = (_git("rev-parse", place).stdout.strip() for place in ("--show-toplevel", "--show-prefix"))
    return root, prefix


def _python_in(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _empty(folder: Path) -> Path:
    """Make a venv that sees this environment's packages; returns its interpreter."""
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], f"{folder}: no venv could be made there")
    python = _python_in(folder)
    # addsitedir, so that packages that are installed here as editable ones are found there too.
    # In ASCII: Python up to 3.12 reads such a file in the locale's encoding, whatever that is when it starts.
    lines = [f"import site; site.addsitedir({place!a})\n" for place in _own_packages()]
    Path(_packages_of(python), _PTH).write_text("".join(lines), encoding="ascii")
    return python


def _packages_of(python: Path) -> str:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return _run([str(python), "-c", code], f"{python}: can't be run").strip()


def _own_packages() -> list[str]:
    return list(dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")))


def _install_revision(python: Path, commit: str, pip_arguments: Sequence[str]) -> None:
    root, prefix = _project()
    with tempfile.TemporaryDirectory(prefix="diffbench-") as scratch:
        # A clone, not an archive: versions may be made from tags. It shares the objects, and leaves the repository as
        # it is, which `git worktree` doesn't.
        source = Path(scratch, Path(root).name)
        clone = ["git", "clone", "--quiet", "--shared", "--no-checkout", root, str(source)]
        _run(clone, f"{root}: can't be cloned")
        _run(["git", "-C", str(source), "checkout", "--quiet", "--detach", commit], f"{commit}: can't be checked out")
        project = source / prefix
        if not any((project / name).is_file() for name in ("pyproject.toml", "setup.py")):
            raise DiffbenchError(
                f"{commit[:12]}: has neither pyproject.toml nor setup.py in {prefix or 'its top folder'}, so there "
                "is nothing to install. Run this in the project's folder."
            )
        # By force: pip would take the project as it is installed here for what was asked for.
        _install(python, ["--force-reinstall", "--no-deps", str(project)], pip_arguments)
        needed = [
            line for found in metadata.distributions(path=[_packages_of(python)]) for line in found.requires or ()
        ]
        if needed and "--no-deps" not in pip_arguments:
            # What it needs, by its own words: pip would build the project once more to read them.
            file = Path(scratch, "needed.txt")
            file.write_text("\n".join(needed) + "\n", encoding="utf-8")
            _install(python, ["-r", str(file)], pip_arguments)


def _install(python: Path, what: Sequence[str], pip_arguments: Sequence[str]) -> None:
    command = [
        *(sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"),
        *("install", "--quiet", *what, *pip_arguments),
    ]
    _run(command, "pip can't install it there")


def _run(command: Sequence[str], what_failed: str) -> str:
    """Run a program. What it says in vain becomes an error."""
    environment = {name: value for name, value in os.environ.items() if name not in OTHER_PYTHONS}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise DiffbenchError(f"{what_failed}: {command[0]} can't be run ({error.strerror}).") from None
    if done.returncode:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        message = " / ".join(said[-3:]) or f"{command[0]} ended with status {done.returncode}"
        raise DiffbenchError(f"{what_failed}: {message}")
    return done.stdout


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise DiffbenchError(
            f"git can't be run ({error.strerror}). Install it, or name a requirements file instead of a revision."
        ) from None
