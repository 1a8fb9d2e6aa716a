"""An accelerator that torch does not know: made in Python, in a process of its own, as torch takes one a process."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("quick_processes")


def asked(statements: str) -> dict[str, Any]:
    """What a process says in which torch has an accelerator called `sim`."""
    script = f"""
import json, torch
from torch.utils import backend_registration

class Backend(backend_registration._DummyBackendModule):
    syncs = 0
    def synchronize(self, device=None):
        Backend.syncs += 1
    def get_device_name(self, device=None):
        return "Simulated 9000"
    def get_rng_state(self, device=None):
        return torch.get_rng_state()
    def set_rng_state(self, state, device=None):
        pass

backend = Backend()
backend_registration._setup_privateuseone_for_python_backend("sim", backend_module=backend)
found = {{}}
{textwrap.dedent(statements)}
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.fixture(autouse=True)
def _needs_backends_in_python() -> None:
    registration = pytest.importorskip("torch.utils.backend_registration")
    if not hasattr(registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this torch takes no accelerator made in Python")


def test_an_unknown_device_is_a_separate_machine_and_never_judged_by_the_hosts_memory() -> None:
    facts = asked(
        """
        from pytest_diffbench.measure.machine import hardware_facts, machine_name
        from pytest_diffbench.measure.memory import RssGauge, gauge_for
        hardware = hardware_facts("sim:0")
        found["device"] = hardware["device"]
        found["name"] = machine_name("sim:0", hardware)
        found["host"] = machine_name("cpu", hardware_facts("cpu"))
        gauge = gauge_for("sim:0")
        found["gauge"] = None if gauge is None else gauge.source
        """
    )
    assert facts["device"] == "Simulated 9000"
    assert facts["name"].startswith("sim-simulated-9000")
    assert facts["name"] != facts["host"]
    assert facts["gauge"] in (None, "device_allocator")


def test_a_device_without_events_is_waited_for() -> None:
    clock = asked(
        """
        from pytest_diffbench.measure.clock import clock_for
        clock = clock_for("sim:0")
        before = Backend.syncs
        marks = [clock.mark(), clock.mark()]
        clock.synchronize()
        found["kind"], found["syncs"] = type(clock).__name__, Backend.syncs - before
        found["seconds"] = clock.seconds(marks)[1]
        """
    )
    assert clock["kind"] in ("HostClock", "EventClock")
    assert clock["syncs"] == (3 if clock["kind"] == "HostClock" else 1)
    assert clock["seconds"] >= 0


def test_state_is_put_back_and_the_cache_emptied() -> None:
    state = asked(
        """
        from pytest_diffbench.measure.state import preserved
        from pytest_diffbench.pipelines.devices import active_kinds, allocated_bytes, return_memory
        emptied = []
        backend.empty_cache = lambda: emptied.append(1)
        restored = []
        backend.set_rng_state = lambda state, device=None: restored.append(1)
        with preserved():
            pass
        return_memory()
        found |= {"kinds": active_kinds(), "emptied": len(emptied), "restored": len(restored)}
        found["bytes"] = allocated_bytes()
        """
    )
    assert state == {"kinds": ["sim"], "emptied": 1, "restored": 1, "bytes": 0}
