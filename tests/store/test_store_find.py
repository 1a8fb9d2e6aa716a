"""Finding the nearest baseline of a case."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from store_builders import make_artifacts, make_case, make_environment, make_observation, make_run

from pytest_diffbench.errors import BaselineError
from pytest_diffbench.store import Store, case_folder

if TYPE_CHECKING:
    from pytest_diffbench.records import Case, Environment

HERE = make_environment("cpu-here", "cpu")


def save(store: Store, environment: Environment, case: Case | None = None) -> Path:
    observation = make_observation(make_artifacts(), run=make_run(environment=environment), case=case)
    store.save(observation, make_artifacts(), None, False)
    return store.root / environment.machine / case_folder(observation.case)


def test_nothing_there(tmp_path: Path) -> None:
    assert Store(tmp_path).find(make_case(), HERE) is None
    store = Store(tmp_path / "not" / "made")
    assert store.find(make_case(), HERE) is None
    assert list(store.entries()) == []
    assert not (tmp_path / "not").exists()


def test_own_machine_before_family_before_any(tmp_path: Path) -> None:
    store = Store(tmp_path)
    save(store, make_environment("a-gpu", "cuda"))
    reference = store.find(make_case(), HERE)
    assert reference is not None
    assert (reference.distance, Path(reference.path).parent.name) == ("any", "a-gpu")

    save(store, make_environment("z-cpu", "cpu"))
    save(store, make_environment("y-cpu", "cpu"))
    reference = store.find(make_case(), HERE)
    assert reference is not None
    assert (reference.distance, Path(reference.path).parent.name) == ("family", "y-cpu")

    save(store, HERE)
    reference = store.find(make_case(), HERE)
    assert reference is not None
    assert (reference.distance, Path(reference.path).parent.name) == ("machine", "cpu-here")
    assert reference.baseline.runs[0].environment == HERE


def test_ties_go_by_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for machine in ("gpu-c", "gpu-a", "gpu-b"):
        save(store, make_environment(machine, "cuda"))
    reference = store.find(make_case(), HERE)
    assert reference is not None
    assert Path(reference.path).parent.name == "gpu-a"


def test_of_a_family_the_same_processor_comes_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    here = make_environment("cpu-b-2c-3f9a1c", "cpu")
    for machine in ("cpu-a-2c-3f9a1c", "cpu-b-2c-000000", "cpu-b-2c"):
        save(store, make_environment(machine, "cpu"))
    reference = store.find(make_case(), here)
    assert reference is not None
    assert (reference.distance, Path(reference.path).parent.name) == ("family", "cpu-b-2c")


def test_machine_without_the_case_is_passed_over(tmp_path: Path) -> None:
    store = Store(tmp_path)
    save(store, make_environment("a-cpu", "cpu"), make_case("other.py::test"))
    save(store, make_environment("b-gpu", "cuda"))
    reference = store.find(make_case(), HERE)
    assert reference is not None
    assert (reference.distance, Path(reference.path).parent.name) == ("any", "b-gpu")


def test_changed_definition_finds_the_old_baseline(tmp_path: Path) -> None:
    store = Store(tmp_path)
    save(store, HERE)
    changed = make_case(seed=7, arguments={"prompt": "another"})
    reference = store.find(changed, HERE)
    assert reference is not None
    assert reference.baseline.case != changed
    assert store.find(make_case(dtype="bfloat16"), HERE) is None


def test_folder_of_a_different_case_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = save(store, HERE, make_case("other.py::test"))
    folder.rename(folder.parent / case_folder(make_case()))
    with pytest.raises(
        BaselineError, match=r"case.id is 'other.py::test', but the requested case is 'tests/test_cfg"
    ):
        store.find(make_case(), HERE)
    with pytest.raises(BaselineError, match=r"case\.id is"):
        store.save(make_observation(make_artifacts(), run=make_run(environment=HERE)), make_artifacts(), None, True)


def test_broken_baseline_is_never_passed_over(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = save(store, HERE)
    shutil.copytree(folder, tmp_path / "another" / folder.name)
    (folder / "baseline.json").write_bytes(b"{")
    with pytest.raises(BaselineError, match="cut short"):
        store.find(make_case(), HERE)


def test_folder_without_baseline_json_is_no_baseline(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = save(store, HERE)
    (folder / "baseline.json").unlink()
    assert store.find(make_case(), HERE) is None
    assert list(store.entries()) == []
    with pytest.raises(BaselineError, match=r"holds no baseline\.json"):
        store.load(folder)


def test_a_lookup_reads_a_single_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    for index in range(5):
        save(store, HERE, make_case(f"t.py::test_{index}"))
        save(store, make_environment("gpu", "cuda"), make_case(f"t.py::test_{index}"))
    read: list[Path] = []
    listed: list[Path] = []
    read_bytes, scandir = Path.read_bytes, os.scandir

    def noted_read(path: Path) -> bytes:
        data = read_bytes(path)
        read.append(path)
        return data

    def noted_scandir(path: Path) -> Any:
        listed.append(path)
        return scandir(path)

    monkeypatch.setattr(Path, "read_bytes", noted_read)
    monkeypatch.setattr(os, "scandir", noted_scandir)
    store.find(make_case("t.py::test_3"), HERE)
    assert len(read) == 1
    assert not listed
    read.clear()
    stranger = make_environment("mps", "mps")
    for index in range(5):
        store.find(make_case(f"t.py::test_{index}"), stranger)
    assert len(read) == 5 + 2  # and one of each machine, which told its family
    assert set(listed) == {tmp_path}


def test_entries_are_sorted_and_load_reads_all(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folders = [
        save(store, make_environment(machine), make_case(f"t.py::{test}"))
        for machine in ("m2", "m1")
        for test in ("test_b", "test_a")
    ]
    (tmp_path / ".git" / "objects").mkdir(parents=True)
    (tmp_path / "m1" / "README.md").write_text("not a baseline")
    (tmp_path / "README.md").write_text("nor this")
    assert list(store.entries()) == sorted(folders)
    reference = store.load(folders[0])
    assert reference.path == str(folders[0])
    assert reference.distance == "any"
    assert reference.baseline.case.id == "t.py::test_b"
    assert len(reference.artifacts().images) == 1
    assert store.load(folders[0], "machine").distance == "machine"


@pytest.mark.parametrize("machine", ["", ".", "..", "../up", "a/b", "a\\b", "c:", ".hidden", "a\0b"])
def test_machine_unfit_for_a_folder_name(tmp_path: Path, machine: str) -> None:
    with pytest.raises(BaselineError, match="can't name a folder"):
        Store(tmp_path).find(make_case(), make_environment(machine))


def test_root_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file")
    with pytest.raises(BaselineError, match="--diffbench-baselines"):
        store.find(make_case(), HERE)
    with pytest.raises(BaselineError, match="can't be written"):
        save(store, HERE)


def test_lookup_imports_nothing_heavy(tmp_path: Path) -> None:
    save(Store(tmp_path), HERE)
    script = f"""
import sys
from pathlib import Path
from pytest_diffbench.store import Store
store = Store(Path({str(tmp_path)!r}))
assert [store.load(folder).baseline.generation for folder in store.entries()] == [1]
heavy = {{"torch", "numpy", "PIL", "safetensors", "pytest", "diffusers", "scipy"}} & sys.modules.keys()
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_writing_and_reading_arrays_needs_no_torch(tmp_path: Path) -> None:
    save(Store(tmp_path), HERE)
    script = f"""
import sys
from pathlib import Path
sys.modules["torch"] = None  # importing it fails
from pytest_diffbench.store import Store
store = Store(Path({str(tmp_path)!r}))
assert [len(store.load(folder).artifacts().images) for folder in store.entries()] == [1]
assert "pytest" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_runs_of_other_cases_are_from_the_local_machine_and_bounded(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.runs("cpu-here", 3) == {}
    ids = [f"test_{letter}.py::test" for letter in "abcdefghij"]
    for test_id in ids:
        save(store, HERE, make_case(test_id))
    save(store, make_environment("cpu-there", "cpu"), make_case("test_z.py::test"))
    broken = next((tmp_path / "cpu-here").glob("test_b*")) / "baseline.json"
    broken.write_text("{")
    runs = store.runs("cpu-here", 20)
    assert set(runs) == set(ids) - {"test_b.py::test"}
    assert all(run.environment == HERE for runs in runs.values() for run in runs)
    # Picked over all of them, so that no model's cases are all there is.
    assert list(store.runs("cpu-here", 3)) == ["test_a.py::test", "test_d.py::test", "test_g.py::test"]
