"""What only a CUDA device has: its clock, its allocator's peaks, offload, running out, and half precision."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest
import torch
from real_calls import PROMPT, observe, prepared, read_back

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.measure.interleave import Interleaved
from pytest_diffbench.measure.nvml import Gpu
from pytest_diffbench.measure.pace import Pace
from pytest_diffbench.measure.rounds import drive_plainly
from pytest_diffbench.pipelines.loader import load
from pytest_diffbench.records import PipelineSpec

if TYPE_CHECKING:
    from pytest_diffbench.records import Observation, Offload

pytestmark = [pytest.mark.gpu, pytest.mark.pipeline]

SIZE: dict[str, Any] = {"num_inference_steps": 4, "height": 256, "width": 256}


def loaded(name: str = "lumina2", dtype: str = "float32", offload: Offload = "none", device: str = "cuda") -> Any:
    return load(PipelineSpec(model=name, weights="mini", device=device, dtype=dtype, offload=offload))


def weights_bytes(pipeline: Any) -> int:
    modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    return sum(p.numel() * p.element_size() for module in modules for p in module.parameters())


def allocated_bytes() -> int:
    gc.collect()
    torch.cuda.synchronize()
    torch._C._cuda_clearCublasWorkspaces()  # kept for good by whoever multiplies first
    return torch.cuda.memory_allocated()


def check_stages(observation: Observation) -> None:
    for timed in observation.run.rounds:
        assert {"text_encode", "denoise", "vae_decode", "unattributed"} <= set(timed.stages_s)
        # Events tell the device's time, the total is the host's: they part by microseconds.
        assert sum(timed.stages_s.values()) == pytest.approx(timed.total_s, rel=0.02)
        assert len(timed.steps_s) == 4
        assert all(step_s > 0 for step_s in timed.steps_s)


def test_events_share_the_time_out_to_stages() -> None:
    check_stages(observe(loaded(), PROMPT, device="cuda", rounds=3, **SIZE))


def test_peaks_are_reported_stage_by_stage() -> None:
    before = allocated_bytes()
    pipeline = loaded()
    weights = weights_bytes(pipeline)
    observation = observe(pipeline, PROMPT, device="cuda", **SIZE)
    assert observation.memory is not None
    assert observation.memory.source == "cuda_allocator"
    stages = observation.memory.stages
    assert {"text_encode", "denoise", "vae_decode"} <= set(stages)
    assert all(stage.peak_bytes > weights for stage in stages.values())
    # The decoder works on all pixels at once, the text encoder on a few tokens.
    assert stages["vae_decode"].peak_bytes > stages["text_encode"].peak_bytes
    assert max(stage.peak_bytes for stage in stages.values()) == observation.memory.peak_bytes
    assert observation.memory.reserved_bytes is not None
    assert observation.memory.reserved_bytes >= observation.memory.peak_bytes
    del pipeline, observation
    assert allocated_bytes() <= before


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offload_costs_time_and_saves_memory_and_changes_nothing_else(offload: Offload) -> None:
    resident = observe(loaded(), PROMPT, device="cuda", **SIZE)
    pipeline = loaded(offload=offload)
    observation = observe(pipeline, PROMPT, device="cuda", rounds=2, **SIZE)
    check_stages(observation)
    assert observation.work is not None
    assert resident.work is not None
    # Operators and calls of Python are more, since something moves the weights.
    for counted in ("steps", "timesteps", "denoiser", "component_calls", "flops", "parameters"):
        assert getattr(observation.work, counted) == getattr(resident.work, counted), counted
    assert observation.guidance is not None
    assert [step.used for step in observation.guidance.steps] == ["guided"] * 4
    assert observation.output is not None
    assert observation.output.rerun.identical
    assert observation.memory is not None
    assert resident.memory is not None
    assert observation.memory.stages["text_encode"].peak_bytes < resident.memory.stages["text_encode"].peak_bytes
    pipeline(PROMPT, **SIZE)  # its hooks are as they were
    pipeline.remove_all_hooks()


def test_variants_have_no_part_in_the_memory_of_other_variants() -> None:
    pipeline = loaded()
    pace = Pace("cuda")
    measurements = {
        name: prepared(pipeline, PROMPT, device="cuda", rounds=2, pace=pace, **SIZE)
        for name in ("one", "two", "three")
    }
    Interleaved(measurements, "one", (2,), lambda *_: True, 0).take(drive_plainly, lambda *_: None)
    first, *others = (measurement.observation(complete=True).memory for measurement in measurements.values())
    assert first is not None
    for memory in others:
        assert memory is not None
        assert memory.stages.keys() == first.stages.keys()
        for stage, alone in first.stages.items():
            # An H200 has 1 KiB more from the second measurement on; the latents, the smallest tensor, have 64.
            assert memory.stages[stage].peak_bytes == pytest.approx(alone.peak_bytes, abs=4096), stage


@pytest.mark.parametrize("call", [1, 3], ids=["survey", "round"])
def test_out_of_memory_gives_the_memory_back(call: int) -> None:
    pipeline = loaded()
    pipeline(PROMPT, **SIZE)  # workspaces that libraries keep
    before, calls = allocated_bytes(), 0

    def exhaust(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            torch.empty(1 << 50, device="cuda")

    handle = pipeline.vae.decoder.register_forward_pre_hook(exhaust)
    measurement = prepared(pipeline, PROMPT, device="cuda", rounds=2, **SIZE)
    with pytest.raises(MeasureError, match="ran out of memory"):
        measurement.take(drive_plainly, lambda *_: None)
    handle.remove()
    # the buffers that the kernels between rounds work on are a measurement's own
    assert allocated_bytes() <= before
    read_back(measurement, complete=False)
    pipeline(PROMPT, **SIZE)


@pytest.mark.parametrize(
    ("name", "sign", "arguments"),
    [
        ("lumina2", -1, {"guidance_scale": 4.0}),
        ("flux", 1, {"true_cfg_scale": 4.0, "negative_prompt": "a blue square"}),
    ],
)
def test_bfloat16_guidance_is_read_within_the_rounding(name: str, sign: int, arguments: dict[str, Any]) -> None:
    observation = observe(loaded(name, "bfloat16"), PROMPT, device="cuda", **arguments, **SIZE)
    assert observation.guidance is not None
    eps = observation.guidance.dtype_eps
    assert eps == torch.finfo(torch.bfloat16).eps
    for step in observation.guidance.steps:
        assert (step.used, step.sign) == ("guided", sign)
        assert step.scale == pytest.approx(4.0, rel=8 * eps)
        if name == "lumina2":
            assert (step.norm_ratio_min, step.norm_ratio_max) == pytest.approx((1, 1), abs=4 * eps)
        else:
            assert (step.gain_min, step.gain_max) == pytest.approx((1, 1), abs=8 * eps)


def test_the_driver_tells_how_the_device_did() -> None:
    pytest.importorskip("pynvml", reason="needs nvidia-ml-py, the extra nvml")
    observation = observe(loaded(), PROMPT, device="cuda", rounds=2, **SIZE)
    assert not [note for note in observation.notes if "NVML" in note and "part of a card" not in note]
    limit_w = observation.run.environment.hardware["device_power_limit_w"]
    assert isinstance(limit_w, int)
    assert limit_w > 50
    assert observation.run.environment.state["device_driver"]
    for timed in observation.run.rounds:
        telemetry = timed.telemetry
        assert telemetry is not None
        assert telemetry.cpu_s is not None
        assert telemetry.temperature_c is not None
        assert 10 < telemetry.temperature_c < 110
        assert (
            telemetry.memory_clock_mhz is None or telemetry.memory_clock_mhz > 100
        )  # None where both readings were at rest


def test_nvml_and_torch_mean_the_same_device() -> None:
    pynvml = pytest.importorskip("pynvml", reason="needs nvidia-ml-py, the extra nvml")
    for number in range(torch.cuda.device_count()):
        device = Gpu.of(f"cuda:{number}")
        assert device._handle is not None, device.notes
        name = pynvml.nvmlDeviceGetName(device._handle)
        assert (name.decode() if isinstance(name, bytes) else name) == torch.cuda.get_device_name(number)
        device.close()


def test_kernels_are_profiled_in_the_launching_stage() -> None:
    measurement = prepared(loaded(), PROMPT, device="cuda", **SIZE)
    measurement.take(drive_plainly, lambda *_: None)
    measurement.take_profile()
    observation = read_back(measurement, complete=True)
    assert observation.profile is not None
    assert observation.profile.kind == "device"
    assert {"text_encode", "denoise", "vae_decode"} <= {operator.stage for operator in observation.profile.operators}
    # of CUTLASS's launchers the name of what they launch is kept, of all others no template arguments
    assert all(
        operator.name.startswith("cutlass::") or "<" not in operator.name
        for operator in observation.profile.operators
    )
    assert all(operator.launched_by for operator in observation.profile.operators)
    denoise_s = sum(operator.self_s for operator in observation.profile.operators if operator.stage == "denoise")
    assert denoise_s > 0.2 * observation.profile.total_s


def test_work_and_guidance_match_the_cpu() -> None:
    observation = observe(loaded(), PROMPT, device="cuda", **SIZE)
    on_cpu = observe(loaded(device="cpu"), PROMPT, **SIZE)
    assert observation.work is not None
    assert on_cpu.work is not None
    assert [(g.branch, g.steps, g.shapes) for g in observation.work.denoiser] == [
        (g.branch, g.steps, g.shapes) for g in on_cpu.work.denoiser
    ]
    assert observation.work.component_calls == on_cpu.work.component_calls
    assert observation.layers is not None
    assert observation.layers.attention_layers == 8


def test_random_state_of_the_device_is_put_back() -> None:
    torch.rand(1, device="cuda")
    before = torch.cuda.get_rng_state()
    observation = observe(lambda: torch.rand(3, 8, 8, device="cuda"), device="cuda", rounds=2)
    assert observation.output is not None
    assert observation.output.rerun.identical
    assert torch.cuda.get_rng_state().equal(before)
