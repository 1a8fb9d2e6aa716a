"""The first fault of each kind of reason, before a push; tests/full/faults plants all."""

from __future__ import annotations

import pytest
from fault_checks import check_caught, title
from fault_table import FAULTS, Fault

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("real_libraries")]

FIRST = {fault.reasons: fault for fault in reversed(FAULTS)}


@pytest.mark.parametrize("fault", FIRST.values(), ids=title)
def test_the_first_fault_of_its_kind_is_caught(fault: Fault) -> None:
    check_caught(fault)
