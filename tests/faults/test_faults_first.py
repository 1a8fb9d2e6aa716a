"""The first fault of each gate in each trained pipeline, before a push; tests/full/faults plants all."""

from __future__ import annotations

import pytest
from fault_checks import check_caught, title
from fault_table import FAULTS, Fault

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]

FIRST = {(fault.gate, fault.subject): fault for fault in reversed(FAULTS) if fault.subject in ("lumina2", "flux")}


@pytest.mark.parametrize("fault", FIRST.values(), ids=title)
def test_the_first_fault_is_caught(fault: Fault) -> None:
    check_caught(fault)
