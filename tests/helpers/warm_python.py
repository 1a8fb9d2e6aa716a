"""A Python that starts in a blink: its processes are forked from one that has torch and diffusers imported already.

`WarmPython.executable` is a program that takes what `python` takes. It hands its arguments, environment, folder and
open files to a server, which forks a process for it, and lives and dies with that process: signals go to it, and its
exit status comes back. Options that a fork can't follow (`-I`, `-X importtime` ...) start a real interpreter.

Where the platform has no `pidfd_open`, the program is the interpreter itself: slower, and otherwise the same.
"""

from __future__ import annotations

import array
import atexit
import collections
import contextlib
import dataclasses
import gc
import io
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from two_environments import make_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SUPPORTED = sys.platform == "linux"
_NOBODY = "nobody"
"""The account of processes whose client was killed."""
_RUNNING: list[WarmPython] = []
"""Servers of this process."""
_HELPERS = Path(__file__).parent
_ROOT = _HELPERS.parent.parent

_CLIENT = """#!{python} -ISu
import array, json, os, signal, socket, sys

REAL, SOCKET, PLACES, ACCOUNT, OF_VENV = {python!r}, {socket!r}, {places!r}, {account!r}, {of_venv!r}

def options(words):
    "The options before `-m`, `-c` or a script; None where a fork can't follow them."
    seen = []
    while words and words[0].startswith("-") and words[0][:2] not in ("-m", "-c"):
        if words[0] not in ("-P", "-B", "-u"):
            return None
        seen.append(words.pop(0))
    return seen if words else None

rest = sys.argv[1:]
flags = options(rest)
if flags is None or (OF_VENV and rest[:2] != ["-m", "pytest"]):
    if not OF_VENV:  # which finds its packages by itself
        os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), *PLACES])
    os.execv(REAL, [REAL, *sys.argv[1:]])
link = socket.socket(socket.AF_UNIX)
link.connect(SOCKET)
files = []
for name in os.listdir("/proc/self/fd"):
    try:
        if int(name) != link.fileno():
            os.fstat(int(name))
            if int(name) < 3 or os.get_inheritable(int(name)):
                files.append(int(name))
    except OSError:
        pass
asked = json.dumps(dict(flags=flags, words=rest, environment=dict(os.environ), folder=os.getcwd(),
                        files=files, executable=os.path.abspath(sys.argv[0]), places=PLACES,
                        account=ACCOUNT)).encode()
socket.send_fds(link, [len(asked).to_bytes(8, "big")], files)
link.sendall(asked)
answers = link.makefile("r")
pid = json.loads(answers.readline())["pid"]
for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(one, lambda number, _: os.kill(pid, number))
ended = answers.readline()
status = json.loads(ended)["status"] if ended else -signal.SIGKILL
if status < 0:
    signal.signal(-status, signal.SIG_DFL) if -status != signal.SIGKILL else None
    os.kill(os.getpid(), -status)
os._exit(status)
"""


@dataclasses.dataclass(frozen=True)
class WarmPython:
    """A server that runs.

    Attributes:
        executable: the program, to be used in the place of `sys.executable`.
        folder: the server's own.
        account: that the processor time of this process's programs is charged to.
        process: the server; None where there is none, or where it is another process's.
    """

    executable: Path
    folder: Path
    account: str = "own"
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, folder: Path) -> WarmPython:
        """Start a server, and wait until it has imported all that it keeps warm.

        Args:
            folder: for its files; its path has to be short, since that of a socket may have some 100 characters.

        Raises:
            RuntimeError: the server ended.
        """
        process = launch(folder) if SUPPORTED else None
        return dataclasses.replace(cls.join(folder, "own", process), process=process)

    @classmethod
    def join(cls, folder: Path, account: str, process: subprocess.Popen[bytes] | None = None) -> WarmPython:
        """Wait until a server that another process has launched is warm.

        Args:
            folder: as handed to `launch`.
            account: of those who share the server, this process's own.
            process: the server, where it is this process's.

        Raises:
            RuntimeError: the server ended.
        """
        if not SUPPORTED:
            return cls(Path(sys.executable), folder)
        while not (folder / "socket").exists():
            if (process is not None and process.poll() is not None) or (folder / "ended").exists():
                raise RuntimeError(f"the warm Python in {folder} ended while it imported what it keeps warm")
            time.sleep(0.05)
        joined = cls(_write_client(folder / f"python-{account}", folder / "socket", account), folder, account)
        _RUNNING.append(joined)
        return joined

    def environment(self, folder: Path, *sources: Path) -> Path:
        """Make what passes for another environment: the same packages, and further folders that only it imports from.

        Args:
            folder: that its program is made in.
            *sources: looked in behind all packages.

        Returns:
            Its interpreter.
        """
        if not SUPPORTED:
            return make_environment(folder, *sources)
        folder.mkdir()
        return _write_client(folder / "python", self.folder / "socket", self.account, *map(str, sources))

    def taking_over(self, make: Callable[[Path], Path]) -> Callable[[Path], Path]:
        """Let pytest in venvs run in forked processes, which find what is installed there behind all packages.

        Whatever else such a venv's interpreter is asked for, such as to install something, it does by itself.

        Args:
            make: makes a venv in a folder; returns its interpreter.
        """

        def make_warm(folder: Path) -> Path:
            python = make(folder)
            (packages,) = folder.glob("lib/python*/site-packages")
            own = python.rename(python.with_name("python-itself"))
            return _write_client(python, self.folder / "socket", self.account, str(packages), venv=own)

        return make_warm if SUPPORTED else make

    @property
    def spent_s(self) -> float:
        """Processor time of all processes that it was asked for in this account and that have ended."""
        with contextlib.suppress(OSError, ValueError):
            return float(_spent_file(self.folder, self.account).read_text(encoding="utf-8"))
        return 0.0

    def stop(self) -> None:
        """End the server, and with it every process that it was asked for."""
        if self.process is not None:
            end(self.process)


def launch(folder: Path) -> subprocess.Popen[bytes]:
    """Start a server, and don't wait: `WarmPython.join` does.

    Args:
        folder: for its files; its path has to be short, since that of a socket may have some 100 characters.
    """
    unwanted = ("PYTHONPATH", "PYTEST_", "DIFFBENCH_", "COV_CORE_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return subprocess.Popen(
        [sys.executable, str(Path(__file__)), str(folder / "socket")],
        # A process that has run threads can't be forked. Those of a fork that has some rest while they wait, or they
        # would take minutes where another program has a core.
        env=environment | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        cwd=_ROOT,
        stdin=subprocess.PIPE,  # that closes with this process, and ends the server
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server, also one that isn't warm yet, and with it every process that it was asked for."""
    assert process.stdin is not None
    process.stdin.close()
    if not Path(str(process.args[-1])).exists():  # type: ignore[index]  # it listens to nothing yet
        process.terminate()
    process.wait()


def _spent_file(folder: Path, account: str) -> Path:
    return folder / f"spent-{account}"


def _write_client(program: Path, address: Path, account: str, *places: str, venv: Path | None = None) -> Path:
    text = _CLIENT.format(
        python=str(venv or sys.executable), socket=str(address), places=places, account=account, of_venv=bool(venv)
    )
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    return program


def spent_s() -> float:
    """Processor time of all processes that this process's warm Pythons were asked for and that have ended."""
    return sum(process.spent_s for process in _RUNNING)


def _serve(address: Path) -> None:
    """Fork a process for each client, until the standard input closes."""
    try:
        _warm_up()
    except BaseException:
        address.with_name("ended").touch()
        raise
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(address.with_name("unready")))
    listener.listen(64)
    spent_s: collections.defaultdict[str, float] = collections.defaultdict(float)
    account_of: dict[int, str] = {}
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ, ("client", None, 0))
    selector.register(0, selectors.EVENT_READ, ("over", None, 0))
    running: set[int] = set()
    gc.collect()
    gc.freeze()
    address.with_name("unready").rename(address)
    while True:
        for key, _ in selector.select():
            kind, link, pid = key.data
            if kind == "over":
                for child in running:
                    os.kill(child, signal.SIGKILL)
                return
            if kind == "client":
                link, _ = listener.accept()
                asked, files = _received(link)
                if (pid := os.fork()) == 0:
                    selector.close()
                    listener.close()
                    link.close()
                    _become(asked, files)
                for file in files:
                    os.close(file)
                running.add(pid)
                account_of[pid] = asked["account"]
                _tell(link, pid=pid)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, ("ended", link, pid))
                selector.register(link, selectors.EVENT_READ, ("gone", link, pid))
            elif kind == "gone":
                # Nothing is sent a second time: the client was killed. Its process may have ended just before it.
                if pid in running:
                    account_of[pid] = _NOBODY  # what is charged from now on would be another test's
                    os.kill(pid, signal.SIGKILL)
                    selector.unregister(link)
            else:
                selector.unregister(key.fd)
                os.close(key.fd)
                _, status, usage = os.wait4(pid, 0)
                running.discard(pid)
                account = account_of.pop(pid)
                spent_s[account] += usage.ru_utime + usage.ru_stime
                address.with_name("spent.new").write_text(str(spent_s[account]), encoding="utf-8")
                address.with_name("spent.new").replace(_spent_file(address.parent, account))
                with contextlib.suppress(KeyError):
                    selector.unregister(link)
                _tell(link, status=os.waitstatus_to_exitcode(status))
                link.close()


class _Importer:
    """Imports all while pytest runs, so that its plugins are there too, and rewritten as they'd be by any session."""

    def pytest_sessionstart(self) -> None:
        from whole_package import import_whole_package

        import_whole_package()


def _warm_up() -> None:
    """Import what measuring sessions import, the package from this checkout."""
    import pytest

    sys.path[:0] = places = [str(_ROOT), str(_HELPERS)]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["--rootdir", folder, "-p", "no:cacheprovider", folder], plugins=[_Importer()])
    for place in places:
        sys.path.remove(place)


def _received(link: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """What a client asks for, and its open files."""
    files = array.array("i")
    head, ancillary, _, _ = link.recvmsg(8, socket.CMSG_LEN(253 * files.itemsize), socket.MSG_WAITALL)
    for _, _, data in ancillary:
        files.frombytes(data[: len(data) - len(data) % files.itemsize])
    text = b""
    while len(text) < int.from_bytes(head, "big"):
        text += link.recv(1 << 20)
    asked: dict[str, Any] = json.loads(text)
    return asked, list(files)


def _tell(link: socket.socket, **facts: int) -> None:
    with contextlib.suppress(OSError):  # the client was killed
        link.sendall(json.dumps(facts).encode() + b"\n")


def _become(asked: dict[str, Any], files: list[int]) -> None:
    """In the forked process: be the one that was asked for. Never returns."""
    status = 1
    try:
        _take_over(asked["files"], files)
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.executable = asked["executable"]
        sys.path.extend(asked["places"])
        status = _run(asked["flags"], asked["words"])
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as an interpreter's end does
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(status)


def _take_over(numbers: Sequence[int], files: Sequence[int]) -> None:
    """Give open files the numbers that they have in the client."""
    free = max([*numbers, *files]) + 1
    moved = [os.dup2(file, free + i) for i, file in enumerate(files)]
    for file in files:
        os.close(file)
    for number, file in zip(numbers, moved, strict=True):
        os.dup2(file, number, inheritable=True)
        os.close(file)
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.FileIO(0, closefd=False))  # type: ignore[misc]  # as at a start
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(number, "w", closefd=False)),
            encoding="utf-8",
            errors="backslashreplace" if number == 2 else "strict",
            line_buffering=number == 2,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _run(flags: Sequence[str], words: list[str]) -> int:
    """Run what stands behind the options; returns the exit status."""
    places = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.path[:0] = places
    safe = "-P" in flags or bool(os.environ.get("PYTHONSAFEPATH"))
    sys.dont_write_bytecode = "-B" in flags or bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    first = words.pop(0)
    try:
        if first.startswith("-"):
            what = first[2:] or words.pop(0)
            if not safe:
                sys.path.insert(0, os.getcwd() if first[:2] == "-m" else "")  # noqa: PTH109  # a string
            if first[:2] == "-m":
                sys.argv = [what, *words]
                runpy.run_module(what, run_name="__main__", alter_sys=True)
            else:
                sys.argv = ["-c", *words]
                exec(compile(what, "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
        else:
            sys.argv = [first, *words]
            if not safe:
                sys.path.insert(0, str(Path(first).parent))
            runpy.run_path(first, run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        return 130
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.path.remove(str(_HELPERS))  # which no process is to find by itself
    _serve(Path(sys.argv[1]))
