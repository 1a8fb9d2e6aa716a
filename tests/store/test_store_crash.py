"""Crashes, full disks and parallel savers: there is always the old baseline or the new one, whole."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from store_builders import make_artifacts, make_case, make_environment, make_observation, make_run

from pytest_diffbench.errors import BaselineError
from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_diffbench.records.artifacts import Artifacts

OLD = make_artifacts(7, images=2)
NEW = make_artifacts(99, images=1)
BUILDERS = Path(__file__).parent


def start(root: Path) -> Store:
    store = Store(root)
    store.save(make_observation(OLD, run=make_run("old")), OLD, None, False)
    return store


def save_new(store: Store) -> str:
    previous = store.find(make_case(), make_environment())
    return saved_text(store.save(make_observation(NEW, run=make_run("new")), NEW, previous, False))


def state(store: Store) -> str:
    """Which baseline stands; fails unless all of it is there."""
    reference = store.find(make_case(), make_environment())
    if reference is None:
        return "none"
    run_id = reference.baseline.runs[0].id
    expected: Artifacts = {"old": OLD, "new": NEW}[run_id]
    read = reference.artifacts()
    assert [image.tobytes() for image in read.images] == [image.tobytes() for image in expected.images]
    assert np.array_equal(read.trace["latents/0"], expected.trace["latents/0"])
    return run_id


def names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def plant(monkeypatch: pytest.MonkeyPatch, at: int, happen: Callable[[], None]) -> list[str]:
    """Let `happen` happen before the call number `at` that touches the disk; returns the calls as they come."""
    calls: list[str] = []

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if name == "open" and "wb" not in args:
                return real(*args, **kwargs)
            calls.append(name)
            if len(calls) - 1 == at:
                happen()
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(os, "fsync", wrap("fsync", os.fsync))
    for name in ("replace", "unlink", "mkdir", "open"):
        monkeypatch.setattr(Path, name, wrap(name, getattr(Path, name)))
    return calls


def calls_while_saving(root: Path, store_exists: bool) -> int:
    store = start(root) if store_exists else Store(root)
    with pytest.MonkeyPatch.context() as patch:
        calls = plant(patch, -1, lambda: None)
        save_new(store)
    assert {"fsync", "replace", "open"} <= set(calls)
    return len(calls)


@pytest.mark.parametrize("store_exists", [True, False])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_failing_write_leaves_the_old_or_the_new_baseline(tmp_path: Path, store_exists: bool, code: int) -> None:
    states = set()
    for at in range(calls_while_saving(tmp_path / "count", store_exists)):
        root = tmp_path / str(at)
        store = start(root) if store_exists else Store(root)
        before = names(root)
        refusal: BaselineError | None

        def fail() -> None:
            raise OSError(code, os.strerror(code))

        with pytest.MonkeyPatch.context() as patch:
            plant(patch, at, fail)
            try:
                save_new(store)
            except BaselineError as error:
                refusal = error
            else:
                refusal = None
        if refusal is None:
            assert state(store) == "new"
        else:
            assert os.strerror(code) in refusal.problem
            assert "nothing was changed" in refusal.remedy or "TMPDIR" in refusal.remedy
            assert state(store) == ("old" if store_exists else "none")
            assert names(root) == before
            assert root.exists() is store_exists
        states.add(state(store))
        assert save_new(store) in ("created", "new generation 2", "new generation 3", "added run 2")
        assert state(store) == "new"
        assert [Path(name).name for name in names(root)][2:] == ["baseline.json", "image-0.png", "trace.safetensors"]
    assert states == ({"old", "new"} if store_exists else {"none", "new"})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a crash is a forked process that ends at once")
@pytest.mark.parametrize("store_exists", [pytest.param(True, marks=pytest.mark.full), False])
def test_crash_at_any_point_leaves_the_old_or_the_new_baseline(tmp_path: Path, store_exists: bool) -> None:
    states = []
    for at in range(calls_while_saving(tmp_path / "count", store_exists)):
        root = tmp_path / str(at)
        store = start(root) if store_exists else Store(root)
        child = os.fork()
        if child == 0:
            try:
                plant(pytest.MonkeyPatch(), at, lambda: os._exit(42))
                save_new(store)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
        states.append(state(store))
        # The next saver cleans up after the crash, whatever it saves.
        reference = store.find(make_case(), make_environment())
        if reference is None:
            save_new(store)
        else:
            same = NEW if states[-1] == "new" else OLD
            assert saved_text(store.save(make_observation(same), same, reference, True)) == "added run 2"
            assert state(store) == states[-1]
        images = ["image-0.png", "image-1.png"] if state(store) == "old" else ["image-0.png"]
        left = [Path(name).name for name in names(root)][2:]
        assert left == ["baseline.json", *images, "trace.safetensors"]
    assert sorted(set(states)) == (["new", "old"] if store_exists else ["new", "none"])
    # It never goes back.
    assert states == sorted(states, reverse=True)


def test_interrupt_just_after_the_renaming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = start(tmp_path)
    replace = Path.replace

    def interrupted(path: Path, target: Path) -> None:
        replace(path, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save_new(store)
    assert state(store) == "new"


LIMITED = """
import resource, sys
sys.path.insert(0, {builders!r})
from pathlib import Path
from store_builders import *
from pytest_diffbench.errors import BaselineError
from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.store import Store
store, artifacts = Store(Path({root!r})), make_artifacts(99)
previous = store.find(make_case(), make_environment())
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    print(saved_text(store.save(make_observation(artifacts), artifacts, previous, False)))
except BaselineError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files there")
@pytest.mark.parametrize(
    ("limit", "remedy"),
    [(0, "move it with TMPDIR"), (100, "Free some space there; nothing"), (1000, "Free some space there; nothing")],
)
def test_disk_full_for_real(tmp_path: Path, limit: int, remedy: str) -> None:
    store = start(tmp_path)
    before = names(tmp_path)
    script = LIMITED.format(builders=str(BUILDERS), root=str(tmp_path), limit=limit)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert remedy in done.stdout, done.stderr
    assert names(tmp_path) == before
    assert state(store) == "old"


SAVER = """
import sys
sys.path.insert(0, {builders!r})
from pathlib import Path
from store_builders import *
from pytest_diffbench.report.sentences.saving import saved_text
from pytest_diffbench.store import Store
store, artifacts = Store(Path({root!r})), make_artifacts(7, images=2)
previous = store.find(make_case(), make_environment())
print("ready", flush=True)
input()
for index in range(3):
    observation = make_observation(artifacts, run=make_run(f"{name}-{{index}}"))
    print(saved_text(store.save(observation, artifacts, previous, {unchanged})))
"""


@pytest.mark.parametrize("first", [pytest.param(True, marks=pytest.mark.full), False])
def test_parallel_savers_all_add_their_runs(tmp_path: Path, first: bool) -> None:
    store = Store(tmp_path) if first else start(tmp_path)
    savers = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                SAVER.format(builders=str(BUILDERS), root=str(tmp_path), name=name, unchanged=not first),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b", "c")
    ]
    # All have judged against the same state before the first one saves.
    for saver in savers:
        assert saver.stdout is not None
        assert saver.stdout.readline() == "ready\n"
    for saver in savers:
        assert saver.stdin is not None
        saver.stdin.write("\n")
        saver.stdin.flush()
    said = [saver.communicate() for saver in savers]
    assert [saver.returncode for saver in savers] == [0, 0, 0], said
    lines = sorted(line for out, _ in said for line in out.splitlines())
    expected = [f"added run {index}" for index in range(2, 10)]
    assert lines == sorted([*expected, "created"] if first else [*expected, "added run 10"])
    reference = store.find(make_case(), make_environment())
    assert reference is not None
    ids = {run.id for run in reference.baseline.runs}
    assert {f"{name}-{index}" for name in "abc" for index in range(3)} <= ids
    assert len(reference.artifacts().images) == 2


def test_nothing_but_baselines_lies_in_the_folder(tmp_path: Path) -> None:
    start(tmp_path)
    assert [Path(name).name for name in names(tmp_path)][2:] == [
        "baseline.json",
        "image-0.png",
        "image-1.png",
        "trace.safetensors",
    ]


def test_a_held_lock_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pytest_diffbench.store import files

    monkeypatch.setattr(files, "_LOCK_TIMEOUT_S", 0.0)
    with files.locked(tmp_path), pytest.raises(BaselineError, match="has been locked by another process"):
        start(tmp_path)
    start(tmp_path)


def test_a_failure_to_create_the_lock_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "file"))
    with pytest.raises(BaselineError, match="TMPDIR"):
        start(tmp_path / "baselines")
    assert not (tmp_path / "baselines").exists()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    store = start(tmp_path)
    folder = next(store.entries())
    folder.chmod(0o555)
    try:
        with pytest.raises(BaselineError, match="Make it writable"):
            save_new(store)
    finally:
        folder.chmod(0o755)
    assert state(store) == "old"
