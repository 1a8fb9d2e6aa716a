"""Invariants over diffusers' own classes: what is found is true, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
import upstream_faults
import zoo_entry
from zoo_table import ENTRIES

from pytest_diffbench.invariants import verify

pytestmark = pytest.mark.usefixtures("one_thread")

_SOUND = (
    "StableDiffusionPipeline",
    "StableDiffusionXLPipeline",
    "KolorsPipeline",
    "StableDiffusion3Pipeline",
    "FluxPipeline",
    "PixArtSigmaPipeline",
    "ZImagePipeline",
    "UnCLIPPipeline",
)
"""Some of those in which nothing is known to be wrong."""


def subject(name: str) -> tuple[Any, dict[str, Any]]:
    pipeline = zoo_entry.build(ENTRIES[name])
    return pipeline, zoo_entry.arguments(ENTRIES[name], pipeline)


_FAULT_OF_EVERY_KIND = {(fault.code, fault.show, fault.about): fault for fault in reversed(upstream_faults.FAULTS)}
"""Many classes have the same fault; benchmarks/verify_zoo.py looks at all."""


@pytest.mark.parametrize("fault", _FAULT_OF_EVERY_KIND.values(), ids=lambda fault: f"{fault.name}-{fault.code}")
def test_a_fault_of_diffusers_is_detected_and_shown_without_the_package(fault: upstream_faults.Shown) -> None:
    pipeline, arguments = subject(fault.name)
    arguments = fault.arguments(arguments)
    (check,) = verify(pipeline, arguments, only=[fault.code]).checks
    assert check.answer == "broken"
    limit = check.distance.limit_rel if check.distance is not None else 0
    assert fault.show(pipeline, **arguments) > limit


@pytest.mark.parametrize("name", _SOUND)
def test_nothing_is_detected_where_nothing_is_wrong(name: str) -> None:
    verification = verify(*subject(name))
    assert verification.having("broken") == ()
    assert len(verification.having("holds")) >= 12
