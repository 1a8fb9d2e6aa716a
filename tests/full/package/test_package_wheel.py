"""The wheel as a user meets it: installed in an environment of its own, used in a project of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
from minis.classifier import classify
from PIL import Image

from pytest_diffbench import __version__
from pytest_diffbench.report import session_json

ROOT = Path(__file__).parents[3]

CONFTEST = """
def pytest_diffbench_environment(config):
    return {"rack": "north"}


def pytest_diffbench_load_pipeline(spec, config):
    if spec.model != "flux":
        return None
    from diffusers import FluxPipeline

    from pytest_diffbench.pipelines.mini import build_mini
    from pytest_diffbench.pipelines.registry import model_named

    class HousePipeline(FluxPipeline):
        "A pipeline of the house's own."

    pipeline = HousePipeline(**build_mini(model_named("flux")).components)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
"""

TEST_FILE = """
import pytest


@pytest.mark.diffbench(model="flux", seed=7)
def test_house_style(diffbench, diffbench_pipeline):
    assert type(diffbench_pipeline).__name__ == "HousePipeline"
    result = diffbench(diffbench_pipeline, "a red circle", num_inference_steps=2)
    assert result.work.denoiser_calls == 2
    assert result.images[0].size == (128, 128)


@pytest.mark.diffbench(model="lumina2")
def test_half(diffbench, diffbench_pipeline):
    result = diffbench(diffbench_pipeline, "a red circle", num_inference_steps=4, cfg_trunc_ratio=0.5)
    assert result.guidance.guided_steps == 2
"""

PAINT = """
import pytest_diffbench
from pytest_diffbench.pipelines.mini import build_mini
from pytest_diffbench.pipelines.registry import model_named

model = model_named("lumina2")
pipeline = build_mini(model)
pipeline("a large red circle on a blue background", **model.mini_recommended).images[0].save("picture.png")
print(pytest_diffbench.__file__)
print(pytest_diffbench.__version__)
"""

INI = """
[pytest]
addopts = --strict-markers --strict-config
diffbench_baselines = perf/baselines
diffbench_rounds = 1
diffbench_warmup_rounds = 0
"""


class Project:
    """A user's project, with the wheel in its own `.venv`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / ".venv" / "bin"

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the project's environment in the project's folder."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
        # hypothesis, which a user needn't have, would be imported at each session's end
        settings = {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": "-p no:hypothesispytest"}
        environment = kept | {"OMP_NUM_THREADS": "1"} | settings
        command = [str(self.bin / program), *arguments]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def pytest(self, *arguments: str) -> tuple[int, str]:
        """Run pytest; exit status and all that it printed."""
        done = self.run("python", "-m", "pytest", "--diffbench-json=session.json", *arguments)
        return done.returncode, done.stdout + done.stderr

    def case_ids(self) -> list[str]:
        """Cases of the last session."""
        return sorted(case.observation.case.id for case in session_json.load(self.folder / "session.json").cases)

    def baselines(self) -> dict[str, bytes]:
        """Every baseline file's content by its path."""
        folder = self.folder / "perf" / "baselines"
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the checkout, so that neither leaves anything in the other."""
    copy, out = tmp_path_factory.mktemp("checkout") / "copy", tmp_path_factory.mktemp("wheel")
    unwanted = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "baselines")
    shutil.copytree(ROOT, copy, ignore=unwanted)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.iterdir()
    return path


@pytest.fixture(scope="module")
def project(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("project"))
    environment = project.folder / ".venv"
    install = ["install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    for command in (
        [sys.executable, "-m", "venv", "--without-pip", str(environment)],
        [sys.executable, "-m", "pip", "--python", str(project.bin / "python"), *install],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    # What the plugin needs comes from the environment that runs this test. That one's own .pth files, the editable
    # installation's among them, aren't read through this line.
    (site_packages,) = environment.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    (project.folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (project.folder / "pytest.ini").write_text(INI, encoding="utf-8")
    (project.folder / "test_house.py").write_text(TEST_FILE, encoding="utf-8")
    return project


def test_what_the_wheel_holds(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"pytest_diffbench/py.typed", "pytest_diffbench/suite/test_flux.py"} <= names
    assert {name.partition("/")[0] for name in names} == {
        "pytest_diffbench",
        f"pytest_diffbench-{__version__}.dist-info",
    }
    in_checkout = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "pytest_diffbench").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in names if name.startswith("pytest_diffbench/")} == in_checkout
    licences = {f"pytest_diffbench-{__version__}.dist-info/licenses/{path.name}" for path in ROOT.glob("LICENSE*")}
    assert licences <= names
    assert {"SHA256SUMS.json", "vae.safetensors"} < {name.rpartition("/")[2] for name in names if "/trained/" in name}
    assert wheel.stat().st_size <= 25_000_000


def test_the_command_is_installed(project: Project) -> None:
    done = project.run("diffbench", "--version")
    assert (done.stdout, done.returncode) == (f"diffbench {__version__}\n", 0), done.stderr


@pytest.mark.pipeline
def test_the_wheel_runs_and_paints_from_the_weights_in_the_wheel(project: Project) -> None:
    done = project.run("python", "-c", PAINT)
    assert done.returncode == 0, done.stderr
    where, version = done.stdout.splitlines()
    assert Path(where).is_relative_to(project.folder / ".venv"), done.stdout
    assert version == __version__
    classified = classify(np.asarray(Image.open(project.folder / "picture.png")))
    assert (classified.ground, [classified_object.colour for classified_object in classified.objects]) == (
        "blue",
        ["red"],
    )


@pytest.mark.pipeline
def test_a_users_own_tests_and_the_installed_suite_from_saving_to_comparing(project: Project) -> None:
    shutil.rmtree(project.folder / "perf", ignore_errors=True)
    both = ("test_house.py", "--pyargs", "pytest_diffbench.suite", "-k", "test_house or test_flux")
    code, output = project.pytest("--diffbench-save", *both)
    assert code == 0, output
    own = ["test_house.py::test_half", "test_house.py::test_house_style"]
    assert project.case_ids() == ["pytest_diffbench/suite/test_flux.py::test_distilled_guidance", *own]
    saved = project.baselines()
    assert any("test_distilled_guidance" in name for name in saved)
    assert not (project.folder / "baselines").exists()

    code, output = project.pytest("--diffbench", "test_house.py")
    assert code == 0, output
    assert "2 passed" in output
    assert project.baselines() == saved
    assert project.case_ids() == own
    for case in session_json.load(project.folder / "session.json").cases:
        decisions = {verdict.gate: verdict.decision for verdict in case.verdicts}
        assert (decisions["work"], decisions["output"]) == ("same", "same"), output

    records = [json.loads(content) for name, content in saved.items() if name.endswith("baseline.json")]
    assert sum(name.endswith("image-0.png") for name in saved) == len(records) == 3
    assert {record["runs"][0]["environment"]["software"]["rack"] for record in records} == {"north"}
    (house,) = [
        record["case"]["definition"] for record in records if record["case"]["id"].endswith("::test_house_style")
    ]
    assert (house["model"], house["pipeline"], house["seed"]) == ("flux", "HousePipeline", 7)
    assert project.run("diffbench", "check", "perf/baselines").returncode == 0


def test_without_the_option_a_users_benchmarks_are_skipped(project: Project) -> None:
    done = project.run("python", "-m", "pytest", "-q", "test_house.py")
    assert done.returncode == 0, done.stdout
    assert "2 skipped" in done.stdout
