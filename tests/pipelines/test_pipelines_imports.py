"""Importing what pipelines come from: without collections, and kept out of those to come, but for a living model."""

from __future__ import annotations

import gc
import subprocess
import sys
from types import ModuleType

import pytest

from pytest_diffbench.errors import PipelineError
from pytest_diffbench.pipelines.imports import import_pipeline_class, without_collections

SCRIPT = """
import gc
{before}
collections = []
gc.callbacks.append(lambda phase, info: collections.append(info["generation"]))
from pytest_diffbench.pipelines.imports import import_pipeline_class
{call}
print(collections.count(2), gc.get_freeze_count() > 100_000, gc.isenabled())
"""


def ran(before: str = "", call: str = "import_pipeline_class('Lumina2Pipeline')") -> str:
    script = SCRIPT.format(before=before, call=call)
    return subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=300
    ).stdout.strip()


@pytest.mark.full
def test_an_import_collects_nothing_and_is_kept_out_of_collections() -> None:
    assert ran() == "0 True True"


@pytest.mark.full
@pytest.mark.parametrize(
    "before",
    ["import torch; model = torch.nn.Linear(2, 2)", "gc.freeze(); gc.freeze = None"],
    ids=["a model exists", "frozen by somebody else"],
)
def test_what_somebody_else_made_is_not_frozen(before: str) -> None:
    assert ran(before).split()[1] == "False"


@pytest.mark.full
def test_a_class_that_is_not_there_is_left_to_whoever_asks_for_it() -> None:
    assert ran(call="import_pipeline_class('NoSuchPipeline')").split()[1] == "True"


def test_collections_go_on_afterwards() -> None:
    assert gc.isenabled()
    with without_collections():
        assert not gc.isenabled()
        with without_collections():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), without_collections():
        raise ImportError
    assert gc.isenabled()


@pytest.mark.usefixtures("real_libraries")
def test_a_class_that_cant_be_imported_is_named_with_why_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(ModuleType):
        __version__ = "0.1"

        def __getattr__(self, name: str) -> object:
            raise RuntimeError("Failed to import a module because of (look up):\nNo module named 'ftfy'")

    monkeypatch.setitem(sys.modules, "diffusers", Broken("diffusers"))
    with pytest.raises(
        PipelineError, match=r"^FluxPipeline: diffusers 0\.1 can't .*: No module named 'ftfy' .*pip check"
    ):
        import_pipeline_class("FluxPipeline")
    assert gc.isenabled()
