"""The class of a machine, from made-up /proc and /sys folders and made-up devices."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from fake_cuda import FakeCuda

from pytest_diffbench.judge.definition import environment_changes
from pytest_diffbench.measure import machine
from pytest_diffbench.measure.environment import environment_of
from pytest_diffbench.measure.machine import hardware_facts, host_facts, machine_name, usable_cpus, whole_gib
from pytest_diffbench.records import Environment
from pytest_diffbench.report.sentences.common import differences

if TYPE_CHECKING:
    from pathlib import Path

ZEN_3 = "sse2 ssse3 sse4_1 sse4_2 avx avx2 fma f16c vaes smep smap ibrs retpoline hypervisor"
ZEN_5 = f"{ZEN_3} avx512f avx512_bf16 avx_vnni ibpb"


class Files:
    """A made-up /proc and /sys of a machine with two cores."""

    def __init__(self, folder: Path, cores: str) -> None:
        self.proc, self.sys = folder / "proc", folder / "sys"
        self.write(self.proc / "cpuinfo", cores)
        self.write(self.proc / "meminfo", "MemTotal:       24683656 kB\nMemFree: 1 kB\n")
        for cpu in (0, 1):
            self.caches(cpu, ("1 Data 32K", "1 Instruction 32K", "2 Unified 512K", "3 Unified 32768K"))

    def caches(self, cpu: int, caches: tuple[str, ...]) -> None:
        for index, cache in enumerate(caches):
            for name, text in zip(("level", "type", "size"), cache.split(), strict=True):
                self.write(self.sys / f"devices/system/cpu/cpu{cpu}/cache/index{index}/{name}", f"{text}\n")

    def dmi(self, vendor: str, product: str) -> None:
        self.write(self.sys / "class/dmi/id/sys_vendor", f"{vendor}\n")
        self.write(self.sys / "class/dmi/id/product_name", f"{product}\n")

    @staticmethod
    def write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def facts(self, cpus: tuple[int, ...] = (0, 1)) -> dict[str, Any]:
        return host_facts(self.proc, self.sys, cpus)

    def name(self) -> str:
        return machine_name("cpu", self.facts())


def x86(flags: str, family: int = 25, model: int = 1, mhz: float = 2445.4) -> str:
    return "\n".join(
        f"processor\t: {core}\nvendor_id\t: AuthenticAMD\ncpu family\t: {family}\nmodel\t\t: {model}\n"
        f"model name\t: AMD EPYC\nstepping\t: 1\nmicrocode\t: 0x1000065\ncpu MHz\t\t: {mhz}\nflags\t\t: {flags}\n"
        for core in (0, 1)
    )


@pytest.fixture
def zen_3(tmp_path: Path) -> Files:
    return Files(tmp_path / "zen_3", x86(ZEN_3))


def test_what_makes_a_class_is_read(zen_3: Files) -> None:
    assert zen_3.facts() == {
        "cpu": "AMD EPYC",
        "cpus": 2,
        "cpu_family": "25",
        "cpu_model": "1",
        "cpu_stepping": "1",
        "caches": "L1d 32K, L1i 32K, L2 512K, L3 32768K",
        "instruction_sets": "avx avx2 f16c fma sse4_1 sse4_2 ssse3 vaes",
        "memory_gib": 24,
        "virtual_machine": "unnamed",
    }
    assert re.fullmatch(r"cpu-amd-epyc-2c-[0-9a-f]{6}", zen_3.name())


def test_two_processors_of_the_same_name_are_two_classes(zen_3: Files, tmp_path: Path) -> None:
    zen_5 = Files(tmp_path / "zen_5", x86(ZEN_5, family=26, model=2))
    assert (
        zen_5.facts()["instruction_sets"] == "avx avx2 avx512_bf16 avx512f avx_vnni f16c fma sse4_1 sse4_2 ssse3 vaes"
    )
    assert zen_3.name() != zen_5.name()
    assert zen_3.name()[:-6] == zen_5.name()[:-6]


def test_what_moves_from_day_to_day_makes_no_other_class(zen_3: Files) -> None:
    name = zen_3.name()
    zen_3.write(zen_3.proc / "cpuinfo", x86(f"{ZEN_3} srso flush_l1d", mhz=3100.25))
    zen_3.write(zen_3.proc / "meminfo", "MemTotal:       24600000 kB\n")
    assert zen_3.name() == name


@pytest.mark.parametrize("change", ["caches", "memory", "cores", "flags", "machine"])
def test_every_fact_is_part_of_the_name(zen_3: Files, change: str) -> None:
    name = zen_3.name()
    cpus: tuple[int, ...] = (0, 1)
    if change == "caches":
        zen_3.caches(0, ("1 Data 48K",))
    elif change == "memory":
        zen_3.write(zen_3.proc / "meminfo", "MemTotal: 49367312 kB\n")
    elif change == "cores":
        cpus = (0,)
    elif change == "flags":
        zen_3.write(zen_3.proc / "cpuinfo", x86(ZEN_3.replace(" f16c", "")))
    else:
        zen_3.dmi("QEMU", "Standard PC")
    assert machine_name("cpu", zen_3.facts(cpus)) != name


@pytest.mark.parametrize(
    ("flags", "vendor", "hypervisor", "virtual_machine"),
    [
        (ZEN_3, "QEMU", "", "QEMU a product"),
        (ZEN_3, "", "xen", "xen"),
        (ZEN_3, "", "", "unnamed"),
        (ZEN_3.replace("hypervisor", ""), "Dell Inc.", "", "none"),
        (ZEN_3.replace("hypervisor", ""), "", "xen", "xen"),
    ],
)
def test_the_kind_of_virtual_machine(
    zen_3: Files, flags: str, vendor: str, hypervisor: str, virtual_machine: str
) -> None:
    zen_3.write(zen_3.proc / "cpuinfo", x86(flags))
    if vendor:
        zen_3.dmi(vendor, "a product")
    if hypervisor:
        zen_3.write(zen_3.sys / "hypervisor/type", f"{hypervisor}\n")
    assert zen_3.facts()["virtual_machine"] == virtual_machine


def test_arm_has_separate_words(tmp_path: Path) -> None:
    cores = "\n".join(
        f"processor\t: {core}\nFeatures\t: fp asimd asimddp sve i8mm bf16{more}\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: {part}\nCPU revision\t: 1\n"
        for core, part, more in ((0, "0xd40", ""), (1, "0xd41", " sve2 sme"))
    )
    machine = Files(tmp_path, cores)
    machine.caches(1, ("2 Unified 1024K",))
    machine.dmi("a vendor", "a board")
    facts = machine.facts()
    assert (facts["cpu_family"], facts["cpu_model"], facts["cpu_stepping"]) == ("0x41", "0xd40, 0xd41", "0x1.1")
    assert facts["instruction_sets"] == "asimd asimddp bf16 i8mm sve", "what all cores have"
    assert facts["virtual_machine"] == "a vendor a board"
    assert machine.facts((1,))["cpu_model"] == "0xd41"
    assert "sve2" in machine.facts((1,))["instruction_sets"]


def test_where_there_are_no_such_folders_the_platform_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.processor", lambda: "Intel64 Family 6 Model 158 Stepping 10, GenuineIntel")
    facts = host_facts(tmp_path, tmp_path, (0,))
    assert (facts["cpu_family"], facts["cpu_model"], facts["cpu_stepping"]) == ("6", "158", "10")
    assert (facts["caches"], facts["instruction_sets"], facts["virtual_machine"]) == (None, None, None)
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert host_facts(tmp_path, tmp_path, (0,))["cpu_family"] is None
    assert re.fullmatch(r"cpu-arm-1c-[0-9a-f]{6}", machine_name("cpu", host_facts(tmp_path, tmp_path, (0,))))


@pytest.mark.parametrize(
    ("left_gib", "whole"),
    [(0.48, 1), (1.9, 2), (15.5, 16), (23.54, 24), (31.3, 32), (62.7, 64), (125.7, 128), (503.6, 512), (79.1, 80)],
)
def test_memory_is_reported_as_bought(left_gib: float, whole: int) -> None:
    for jitter_gib in (0, 0.05, -0.05):
        assert whole_gib(int((left_gib + jitter_gib) * 2**30)) == whole


def test_the_local_machine_has_a_lasting_class() -> None:
    first, other = (environment_of("cpu", object()) for _ in range(2))
    assert first.machine == other.machine
    assert first.hardware == other.hardware == hardware_facts("cpu")
    assert first.hardware["cpus"] == len(usable_cpus())
    assert environment_changes(first, other) is None


def test_switched_on_options_of_a_component_are_facts() -> None:
    vae: Any = torch.nn.Linear(1, 1)
    vae.use_tiling, vae.use_slicing = True, False
    software = environment_of("cpu", SimpleNamespace(components={"vae": vae})).software
    assert {name: fact for name, fact in software.items() if ".use_" in name} == {"vae.use_tiling": True}


class Card:
    """A CUDA device by what torch tells of it, without the driver's Python module."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, tool: str) -> None:
        properties = SimpleNamespace(
            name=name, total_memory=84_929_347_584, major=9, minor=0, multi_processor_count=132, uuid="abc"
        )
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: properties)
        monkeypatch.setitem(sys.modules, "pynvml", None)
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=tool))
        machine._power_limit_w.cache_clear()
        self.facts = hardware_facts("cuda:0")
        machine._power_limit_w.cache_clear()


def test_a_device_is_reported_by_name_memory_power_and_part(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Card(monkeypatch, "NVIDIA H100 80GB HBM3", "GPU-xyz, 350.00\nGPU-abc, 699.96\n").facts
    assert whole["device"] == "NVIDIA H100 80GB HBM3"
    assert (whole["device_memory_gib"], whole["device_mig"], whole["device_power_limit_w"]) == (80, "none", 700)
    assert whole.items() >= hardware_facts("cpu").items()
    name = machine_name("cuda:0", whole)
    assert re.fullmatch(r"cuda-nvidia-h100-80gb-hbm3-[0-9a-f]{6}", name)
    slow = Card(monkeypatch, "NVIDIA H100 80GB HBM3", "GPU-abc, 450.00\n").facts
    assert machine_name("cuda:0", slow) != name
    part = Card(monkeypatch, "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "").facts
    assert (part["device_mig"], part["device_power_limit_w"]) == ("1g.10gb", None)


def test_a_card_without_a_power_limit_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Card(monkeypatch, "NVIDIA T4", "GPU-abc, [N/A]\n").facts["device_power_limit_w"] is None


def test_facts_missing_from_an_old_run_are_unknown_and_reported_in_a_line(zen_3: Files) -> None:
    def environment(hardware: dict[str, Any]) -> Environment:
        return Environment(machine="m", family="cpu", hardware=hardware, settings={}, software={}, state={})

    now = environment(zen_3.facts())
    changed = environment_changes(environment({"cpu": "AMD EPYC", "cpus": 2}), now)
    assert changed is not None
    assert (changed[0], changed[1].facts) == ("hardware", ())
    assert differences(changed[1]) == (
        "the baseline is from before these facts were recorded (no cache sizes, no instruction sets, no memory size, "
        "and 4 more)"
    )
    other = environment_changes(environment({"cpu": "Intel", "cpus": 2, "device_memory_bytes": 1}), now)
    assert other is not None
    assert differences(other[1]).startswith("cpu: 'Intel' -> 'AMD EPYC'; the baseline is from before these facts")
    assert "absent" not in differences(other[1])
    grown = environment_changes(now, environment(zen_3.facts() | {"memory_gib": 32}))
    assert grown is not None
    assert differences(grown[1]) == "memory_gib: 24 -> 32"


def test_torchs_newer_setting_of_precision_is_recorded_and_stops_nothing() -> None:
    import torch

    if not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this torch has the older setting alone")
    before = torch.backends.fp32_precision, torch.backends.cuda.matmul.fp32_precision
    torch.backends.fp32_precision = "tf32"
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    try:
        with pytest.raises(RuntimeError):
            torch.get_float32_matmul_precision()
        precision = environment_of("cpu", object()).settings["float32_matmul_precision"]
    finally:
        torch.backends.fp32_precision, torch.backends.cuda.matmul.fp32_precision = before
    assert precision == "cuda ieee, mkldnn tf32"
    assert environment_of("cpu", object()).settings["float32_matmul_precision"] == "highest"


def test_the_precision_of_convolutions_by_torchs_newer_setting_is_recorded() -> None:
    cudnn: Any = torch.backends.cudnn
    if not hasattr(getattr(cudnn, "conv", None), "fp32_precision"):
        pytest.skip("this torch has the older setting alone")
    before = cudnn.conv.fp32_precision
    cudnn.conv.fp32_precision = "ieee"  # the recurrent layers' is another, and torch refuses to answer for both
    try:
        with FakeCuda().installed():
            settings = environment_of("cuda:0", object()).settings
    finally:
        cudnn.conv.fp32_precision = before
    assert settings["cudnn_allow_tf32"] == "ieee"


def test_the_version_of_rocm_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.4.43482")
    with FakeCuda().installed():
        software = environment_of("cuda:0", object()).software
    assert software["rocm"] == "6.4.43482"


def test_a_compiled_method_makes_a_component_compiled() -> None:
    import torch

    from pytest_diffbench.pipelines.tuned import is_compiled

    class Decoder(torch.nn.Module):
        def decode(self, latents: torch.Tensor) -> torch.Tensor:
            return latents + 1

    decoder: Any = Decoder()
    assert not is_compiled(decoder)
    decoder.decode = torch.compile(decoder.decode, backend="eager")
    assert is_compiled(decoder)
