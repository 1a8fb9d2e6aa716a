"""NVML as a made-up driver tells it: which device is meant, what is refused, and what of a round it says. No GPU."""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from pytest_diffbench.measure.nvml import Gpu, GpuReading
from pytest_diffbench.measure.telemetry import HostReading, TelemetryWatch, telemetry

if TYPE_CHECKING:
    from collections.abc import Callable


def host() -> HostReading:
    return HostReading(process_s=0.0, ticks=None, mhz=None)


class RefusedError(Exception):
    """What NVML raises."""


OWN, OTHER, INSTANCE, CARD = "mine", "other", "instance", "card"


class Driver(ModuleType):
    """NVML as `pynvml` offers it: two devices in another order than CUDA's, and answers that can be made to fail."""

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0
    NVML_PERF_POLICY_POWER, NVML_PERF_POLICY_THERMAL, NVML_PERF_POLICY_SYNC_BOOST = 0, 1, 2
    NVML_PERF_POLICY_BOARD_LIMIT, NVML_PERF_POLICY_RELIABILITY = 3, 5
    NVML_PROCESSOR_CLK_SAMPLES = 5

    def __init__(self, **failing: str) -> None:
        super().__init__("pynvml")
        self.failing = failing
        self.calls: list[str] = []
        self.handles: dict[str, str] = {"GPU-abc": OWN, "GPU-def": OTHER, "00000000:3B:00.0": OWN}
        self.split = False
        self.reasons = 0
        self.energy_mj = 5000
        self.pids = [os.getpid(), 11]
        self.held_down_ns: dict[int, int] = {}
        self.samples: list[tuple[int, int]] = []
        for name, answer in self.answers().items():
            setattr(self, name, self.answering(name, answer))

    def answering(self, name: str, answer: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self.calls.append(name)
            if name in self.failing:
                raise RefusedError(self.failing[name])
            return answer(*args)

        return call

    def answers(self) -> dict[str, Callable[..., Any]]:
        clocks = {1: 1980, 2: 2619}
        return {
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetHandleByUUID": self.find,
            "nvmlDeviceGetHandleByPciBusId": self.find,
            "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": lambda handle: {INSTANCE: CARD}[handle],
            "nvmlDeviceGetMigMode": lambda handle: (int(self.split), 0),
            "nvmlDeviceGetClockInfo": lambda handle, kind: self.of(handle, clocks[kind]),
            "nvmlDeviceGetTemperature": lambda handle, sensor: self.of(handle, 61),
            "nvmlDeviceGetPowerUsage": lambda handle: self.of(handle, 312_500),
            "nvmlDeviceGetTotalEnergyConsumption": lambda handle: self.of(handle, self.energy_mj),
            "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: self.of(handle, self.reasons),
            "nvmlDeviceGetComputeRunningProcesses": lambda handle: [SimpleNamespace(pid=pid) for pid in self.pids],
            "nvmlDeviceGetGraphicsRunningProcesses": lambda handle: [
                SimpleNamespace(pid=pid) for pid in self.pids[1:]
            ],
            "nvmlDeviceGetViolationStatus": lambda handle, policy: SimpleNamespace(
                violationTime=self.of(handle, self.held_down_ns.get(policy, 0))
            ),
            "nvmlDeviceGetSamples": lambda handle, kind, since_us: (
                0,
                [
                    SimpleNamespace(timeStamp=at_us, sampleValue=SimpleNamespace(uiVal=mhz))
                    for at_us, mhz in self.samples
                    if at_us > since_us
                ],
            ),
            "nvmlDeviceGetEnforcedPowerLimit": lambda handle: self.of(handle, 700_000),
            "nvmlSystemGetDriverVersion": lambda: "580.10",
        }

    def find(self, name: str) -> str:
        if name not in self.handles:
            raise RefusedError("Not Found")
        return self.handles[name]

    @staticmethod
    def of(handle: str, answer: int) -> int:
        return answer if handle in (OWN, CARD) else -1


REASONS = ("sw_power_cap", "sw_thermal_slowdown", "sync_boost", "board_limit", "reliability")


def gpu(driver: Driver, uuid: str = "abc", pci_bus_id: str | None = "00000000:3B:00.0") -> Gpu:
    return Gpu(driver, (f"MIG-{uuid}", f"GPU-{uuid}") if uuid else (), pci_bus_id)


def test_the_driver_reports_everything_of_the_right_device() -> None:
    driver = Driver()
    driver.reasons = 0x4 | 0x40
    device = gpu(driver)
    assert device.read() == GpuReading(
        idle=False,
        sm_clock_mhz=1980,
        memory_clock_mhz=2619,
        throttle_reasons=("sw_power_cap", "hw_thermal_slowdown"),
        temperature_c=61,
        power_w=312.5,
        energy_j=5.0,
        other_processes=1,
        held_down_ns=dict.fromkeys(REASONS, 0),
        clock_samples=(),
    )
    assert device.facts() == {"device_power_limit_w": 700.0, "device_driver": "580.10"}
    assert device.notes == ()
    device.close()
    device.close()
    assert driver.calls.count("nvmlShutdown") == 1


def test_a_device_without_a_uuid_is_matched_by_place() -> None:
    for uuid in ("", "unknown"):
        device = gpu(Driver(), uuid)
        assert device.read().sm_clock_mhz == 1980
        assert device.notes == ()


def test_a_missing_device_is_noted_once() -> None:
    for uuid, place, why in (("zzz", "1", "Not Found"), ("", None, "neither its UUID nor its place")):
        device = gpu(Driver(), uuid, place)
        assert device.read() == device.read() == GpuReading()
        assert device.facts() == {}
        (note,) = device.notes
        assert why in note
        assert "pytest-diffbench[nvml]" in note
        device.close()


def test_a_library_failing_to_start_is_noted() -> None:
    device = gpu(Driver(nvmlInit="Driver Not Loaded"))
    assert device.read() == GpuReading()
    (note,) = device.notes
    assert "NVML doesn't start (Driver Not Loaded)" in note
    device.close()


FIELDS = {
    "nvmlDeviceGetClockInfo": ("sm_clock_mhz", "memory_clock_mhz"),
    "nvmlDeviceGetTemperature": ("temperature_c",),
    "nvmlDeviceGetPowerUsage": ("power_w",),
    "nvmlDeviceGetTotalEnergyConsumption": ("energy_j",),
    "nvmlDeviceGetComputeRunningProcesses": ("other_processes",),
    "nvmlDeviceGetCurrentClocksEventReasons": ("throttle_reasons",),
    "nvmlDeviceGetViolationStatus": ("held_down_ns",),
    "nvmlDeviceGetSamples": ("clock_samples",),
}


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("why", ["Not Supported", "Insufficient Permissions", "GPU is lost"])
def test_a_refused_field_is_none_and_noted_and_not_asked_again(name: str, why: str) -> None:
    driver = Driver()
    driver.reasons = 0x4
    whole = gpu(driver).read()
    driver.failing, driver.calls = {name: why}, []
    device = gpu(driver)
    reading = device.read()
    assert device.read() == reading
    for field in GpuReading.__slots__:
        expected = getattr(GpuReading(), field) if field in FIELDS[name] else getattr(whole, field)
        assert getattr(reading, field) == expected, field
    assert driver.calls.count(name) == len(FIELDS[name])
    (note,) = device.notes
    assert note.count(why) == len(FIELDS[name])


def test_all_fields_at_once_may_be_refused() -> None:
    device = gpu(Driver(**dict.fromkeys([*FIELDS, "nvmlDeviceGetEnforcedPowerLimit"], "Not Supported")))
    assert device.read() == GpuReading()
    assert device.facts() == {"device_power_limit_w": None, "device_driver": "580.10"}
    assert len(device.notes) == 1


@pytest.mark.parametrize("way", ["instance", "card"])
def test_a_part_of_a_card_has_the_clocks_of_the_card_and_no_separate_power(way: str) -> None:
    driver = Driver()
    driver.split = True
    if way == "instance":
        driver.handles = {"MIG-abc": INSTANCE}
    device = gpu(driver)
    reading = device.read()
    assert (reading.sm_clock_mhz, reading.temperature_c) == (1980, 61)
    assert (reading.power_w, reading.energy_j, reading.other_processes) == (None, None, None)
    (note,) = device.notes
    assert "part of a card" in note


@pytest.mark.parametrize(
    ("pids", "others"),
    [([os.getpid()], 0), ([os.getpid(), 1, 2], 2), ([90001], 0), ([90001, 90002], 1), ([], None)],
    ids=["alone", "two more", "a container's number", "a container and another", "a container that sees nobody"],
)
def test_the_own_process_is_no_other_process(pids: list[int], others: int | None) -> None:
    driver = Driver()
    driver.pids = pids
    assert gpu(driver).read().other_processes == others


@pytest.mark.parametrize("pids", [[os.getpid(), 77], [90001, 90002]], ids=["on the host", "in a container"])
def test_the_parent_process_is_no_other_process(pids: list[int]) -> None:
    driver = Driver()
    driver.pids = pids
    watched = Gpu(driver, ("GPU-abc",), None, relatives=1)
    assert watched.read().other_processes == 0
    driver.pids = [*pids, 99]
    assert watched.read().other_processes == 1


def test_before_a_rename_reasons_had_a_different_name() -> None:
    driver = Driver()
    driver.reasons = 0x8
    names = vars(driver)
    names["nvmlDeviceGetCurrentClocksThrottleReasons"] = names.pop("nvmlDeviceGetCurrentClocksEventReasons")
    assert gpu(driver).read().throttle_reasons == ("hw_slowdown",)


def test_of_two_readings_of_a_device_the_worse_is_kept() -> None:
    before = GpuReading(sm_clock_mhz=1980, temperature_c=50, power_w=300, energy_j=10, other_processes=0)
    after = GpuReading(
        sm_clock_mhz=1700,
        temperature_c=70,
        power_w=250,
        energy_j=35,
        other_processes=2,
        throttle_reasons=("sw_power_cap",),
    )
    reading = telemetry(host(), host(), before, after)
    assert (reading.temperature_c, reading.power_w) == (70, 300)
    assert (reading.energy_j, reading.other_processes, reading.throttle_reasons) == (25, 2, ("sw_power_cap",))


def test_the_clocks_of_a_resting_device_are_not_the_rounds_clocks() -> None:
    driver = Driver()
    driver.reasons = 0x1
    idle = gpu(driver).read()
    assert (idle.idle, idle.throttle_reasons) == (True, ())
    slow = GpuReading(sm_clock_mhz=345, memory_clock_mhz=2619)
    resting = GpuReading(idle=True, sm_clock_mhz=345, memory_clock_mhz=100)
    for before, after in ((resting, resting), (slow, slow), (resting, slow)):
        assert telemetry(host(), host(), before, after).sm_clock_mhz is None
    assert telemetry(host(), host(), resting, slow).memory_clock_mhz == 2619


def test_the_clock_of_a_round_is_the_median_of_the_drivers_samples_within() -> None:
    driver = Driver()
    watched = gpu(driver)
    driver.samples = [(10, 345), (20, 345)]
    before = watched.read()
    driver.samples += [(30, 1700), (40, 1755), (50, 1800)]
    after = watched.read()
    assert telemetry(host(), host(), before, after).sm_clock_mhz == 1755


def test_a_cap_during_work_is_noticed_though_the_device_rests_when_read() -> None:
    driver = Driver()
    watched = gpu(driver)
    driver.held_down_ns = {Driver.NVML_PERF_POLICY_POWER: 5_000_000, Driver.NVML_PERF_POLICY_THERMAL: 7}
    before = watched.read()
    driver.held_down_ns[Driver.NVML_PERF_POLICY_POWER] += 800_000_000
    driver.held_down_ns[Driver.NVML_PERF_POLICY_THERMAL] += 1_000_000
    reading = telemetry(host(), host(), before, watched.read(), round_s=2.0)
    assert reading.held_down_s == {"sw_power_cap": 0.8, "sw_thermal_slowdown": 0.001}
    assert reading.throttled_by == ("sw_power_cap",), "a two-thousandth of the round is no slowdown"


def test_what_is_read_at_rest_is_no_reason_where_the_driver_counts() -> None:
    driver = Driver()
    driver.reasons = 0x40 | 0x2  # hot at rest, and clocks that somebody set
    watched = gpu(driver)
    reading = telemetry(host(), host(), watched.read(), watched.read(), round_s=1.0)
    assert reading.throttle_reasons == ("applications_clocks_setting",)
    assert reading.throttled_by == ()


class NothingNewError(RefusedError):
    """What NVML raises where no sample was taken since."""

    value = 6


def test_a_round_without_a_sample_has_no_clock_and_the_next_round_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = Driver()
    watched = gpu(driver)
    driver.samples = [(10, 1700)]
    assert watched.read().clock_samples == ((10, 1700.0),)
    taken = driver.nvmlDeviceGetSamples

    def none_since(*_: Any) -> Any:
        raise NothingNewError("Not Found")

    monkeypatch.setattr(driver, "nvmlDeviceGetSamples", none_since)
    assert watched.read().clock_samples == ()
    monkeypatch.setattr(driver, "nvmlDeviceGetSamples", taken)
    driver.samples.append((20, 1755))
    assert watched.read().clock_samples == ((20, 1755.0),)
    assert watched.notes == ()


def test_a_card_with_some_policy_counters_reports_the_counted_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()
    counted = driver.nvmlDeviceGetViolationStatus

    def some(handle: Any, policy: int) -> Any:
        if policy in (Driver.NVML_PERF_POLICY_SYNC_BOOST, Driver.NVML_PERF_POLICY_RELIABILITY):
            raise RefusedError("Not Supported")
        return counted(handle, policy)

    monkeypatch.setattr(driver, "nvmlDeviceGetViolationStatus", some)
    held_down_ns = gpu(driver).read().held_down_ns
    assert held_down_ns is not None
    assert set(held_down_ns) == {"sw_power_cap", "sw_thermal_slowdown", "board_limit"}


def test_a_counter_of_energy_begun_anew_says_nothing() -> None:
    assert telemetry(host(), host(), GpuReading(energy_j=9), GpuReading(energy_j=1)).energy_j is None


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What torch tells of a device."""
    properties = SimpleNamespace(uuid="abc", pci_domain_id=0, pci_bus_id=0x3B, pci_device_id=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: properties)
    return properties


def test_a_different_order_of_devices_is_no_matter(device: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()
    driver.handles = {"GPU-def": OTHER, "GPU-abc": OWN}  # the first is somebody else's
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    watch = TelemetryWatch("cuda:0")
    watch.before()
    driver.energy_mj += 250_000
    reading = watch.after()
    assert reading is not None
    assert (reading.memory_clock_mhz, reading.energy_j) == (2619, 250)
    assert watch.facts() == {"device_driver": "580.10"}
    watch.close()


def test_torch_without_uuids_is_matched_by_place(device: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    del device.uuid
    driver = Driver()
    driver.handles = {"00000000:3B:00.0": OWN}
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    assert Gpu.of("cuda:0").read().sm_clock_mhz == 1980


@pytest.mark.parametrize("module", [None, ModuleType("pynvml")], ids=["absent", "something else of that name"])
def test_without_the_package_a_note_says_what_to_install(
    device: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, module: ModuleType | None
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", module)
    watch = TelemetryWatch("cuda:0")
    watch.before()
    reading = watch.after()
    assert reading is not None
    assert (reading.sm_clock_mhz, watch.facts()) == (None, {})
    (note,) = watch.notes
    assert "pip install 'pytest-diffbench[nvml]'" in note
    watch.close()
