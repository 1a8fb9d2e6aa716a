"""The resident pipeline: one at a time, shared by equal specs, and really gone afterwards."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from pytest_diffbench.pipelines.loader import load
from pytest_diffbench.pipelines.resident import Resident
from pytest_diffbench.records import PipelineSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

SPEC = PipelineSpec(model="lumina2", weights="mini", device="cpu", dtype="float32")
OTHER = PipelineSpec(model="flux", weights="mini", device="cpu", dtype="float32")


class Fake:
    """Holds itself, as hooked pipelines do, so that only the cycle collector frees it."""

    def __init__(self) -> None:
        self.me = self
        self.hooked = True

    def remove_all_hooks(self) -> None:
        self.hooked = False


@pytest.fixture
def no_automatic_collection() -> Iterator[None]:
    """What is freed here was freed on purpose."""
    gc.disable()
    yield
    gc.enable()


def test_equal_specs_share_a_pipeline() -> None:
    resident = Resident()
    first = resident.get(SPEC, Fake)
    again = resident.get(PipelineSpec(model="lumina2", weights="mini", device="cpu", dtype="float32"), Fake)
    assert first is again
    assert first.hooked


@pytest.mark.parametrize(
    "change", [{"model": "flux"}, {"dtype": "bfloat16"}, {"offload": "model"}, {"source": "x/y"}]
)
def test_unequal_specs_do_not(change: dict[str, Any]) -> None:
    resident = Resident()
    arguments: dict[str, Any] = {"model": "lumina2", "weights": "mini", "device": "cpu", "dtype": "float32"}
    first = resident.get(PipelineSpec(**arguments), Fake)
    assert resident.get(PipelineSpec(**{**arguments, **change}), Fake) is not first


def test_the_old_pipeline_is_gone_before_the_new_pipeline_is_built(no_automatic_collection: None) -> None:
    resident = Resident()
    old = weakref.ref(resident.get(SPEC, Fake))
    alive: list[object] = []

    def build() -> Fake:
        alive.append(old())
        return Fake()

    resident.get(OTHER, build)
    assert alive == [None]


def test_failed_build_leaves_nothing_loaded(no_automatic_collection: None) -> None:
    resident = Resident()
    old = weakref.ref(resident.get(SPEC, Fake))

    def fail() -> Fake:
        raise MemoryError

    with pytest.raises(MemoryError):
        resident.get(OTHER, fail)
    assert old() is None
    assert isinstance(resident.get(SPEC, Fake), Fake)


def test_failing_hooks_do_not_keep_the_pipeline(no_automatic_collection: None) -> None:
    class Stubborn(Fake):
        def remove_all_hooks(self) -> None:
            raise RuntimeError("stuck")

    resident = Resident()
    old = weakref.ref(resident.get(SPEC, Stubborn))
    with pytest.raises(RuntimeError, match="stuck"):
        resident.release()
    gc.collect()  # the error's traceback held it until now
    assert old() is None
    resident.release()


def test_release_removes_hooks_and_can_be_repeated() -> None:
    resident = Resident()
    resident.release()
    pipeline = resident.get(SPEC, Fake)
    resident.release()
    resident.release()
    assert not pipeline.hooked


def test_objects_without_hooks_are_released_too(no_automatic_collection: None) -> None:
    resident = Resident()
    old = weakref.ref(resident.get(SPEC, lambda: torch.nn.Linear(2, 2)))
    resident.release()
    assert old() is None


@pytest.mark.pipeline
@pytest.mark.usefixtures("real_libraries")
def test_real_pipeline_and_the_modules_are_gone(no_automatic_collection: None) -> None:
    resident = Resident()
    pipeline: Any = resident.get(SPEC, lambda: load(SPEC))
    pipeline("a red circle", num_inference_steps=1, height=64, width=64)
    modules = [component for component in pipeline.components.values() if isinstance(component, torch.nn.Module)]
    old = [
        weakref.ref(kept)
        for kept in (pipeline, *modules, modules[0].get_parameter(next(iter(modules[0].state_dict()))))
    ]
    assert len(old) == 5
    del pipeline, modules
    resident.get(OTHER, lambda: load(OTHER))
    assert [reference() for reference in old] == [None] * 5


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_goes_back_to_the_system(no_automatic_collection: None) -> None:
    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    class Heavy(Fake):
        def __init__(self) -> None:
            super().__init__()
            # blocks far below malloc's threshold for mapping, so that they lie on the heap, as small tensors do
            self.blocks = [torch.ones(16 * 1024) for _ in range(3200)]

    heavy_bytes = 3200 * 64 * 1024
    resident = Resident()
    resident.get(OTHER, Fake)
    resident.release()  # and with it what earlier tests left free, which would be used again
    before = resident_bytes()
    resident.get(SPEC, Heavy)
    during = resident_bytes()
    resident.release()
    after = resident_bytes()
    assert during - before > 0.9 * heavy_bytes
    assert after - before < 0.1 * heavy_bytes


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("offload", ["none", "model", "sequential"])
def test_device_memory_goes_back(offload: Any) -> None:
    spec = PipelineSpec(model="lumina2", weights="mini", device="cuda", dtype="bfloat16", offload=offload)
    resident = Resident()
    reserved = []
    for _ in range(2):  # what libraries keep from their first use on is there after the first
        resident.get(spec, lambda: load(spec))("a red circle", num_inference_steps=1, height=64, width=64)
        resident.release()
        reserved.append(torch.cuda.memory_reserved())
    assert reserved[1] <= reserved[0]


def _fail_as_pytest_does(pipeline: Any) -> None:
    """A test that fails with its pipeline in its frame, and what pytest keeps of the error for debuggers."""

    def failing_test(pipeline: Any) -> None:
        raise AssertionError(f"{type(pipeline).__name__} was too slow")

    try:
        failing_test(pipeline)
    except AssertionError as error:
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
        if sys.version_info >= (3, 12):
            sys.last_exc = error


def test_the_last_error_does_not_keep_the_pipeline_of_a_failed_test(no_automatic_collection: None) -> None:
    resident = Resident()
    pipeline = resident.get(SPEC, Fake)
    _fail_as_pytest_does(pipeline)
    alive = weakref.ref(pipeline)
    del pipeline
    resident.get(OTHER, Fake)
    assert alive() is None
