"""How long a session will take, by what its tests took when their baselines were last measured on such a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.items import case_id
from pytest_diffbench.measure.machine import hardware_facts, machine_name
from pytest_diffbench.pipelines.loader import resolve_device

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pytest

    from pytest_diffbench.records import Run
    from pytest_diffbench.settings.options import Settings


def expected_s(
    tests: Sequence[tuple[pytest.Item, Settings]], runs_of: Callable[[str], Mapping[str, Sequence[Run]]]
) -> float | None:
    """Seconds that tests will take; those that nothing is known of count as the others do on average.

    Args:
        tests: with their settings, whose devices exist.
        runs_of: given a class of machine, the runs of its baselines by case.

    Returns:
        None where nothing is known of any, or where only plans are made.
    """
    devices = {
        case_id(item, None): resolve_device(settings.device) for item, settings in tests if settings.weights != "plan"
    }
    took_s: dict[str, float] = {}
    for device in sorted(set(devices.values())):
        for case, runs in runs_of(machine_name(device, hardware_facts(device))).items():
            test = case if case in devices else case.rpartition("#")[0]  # a test's further cases have labels
            if devices.get(test) == device and runs and runs[-1].took_s is not None:
                took_s[test] = took_s.get(test, 0.0) + runs[-1].took_s
    return len(devices) * sum(took_s.values()) / len(took_s) if took_s else None
