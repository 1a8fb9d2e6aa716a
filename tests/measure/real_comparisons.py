"""Variants of real calls, measured against each other in this process, and single ones beside a baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import report_factories
from real_calls import PROMPT, prepared

from pytest_diffbench.judge import Limits, judge
from pytest_diffbench.judge.answer import answer
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.time.variants import case_suspicions
from pytest_diffbench.measure import definition
from pytest_diffbench.measure.argument_values import describe
from pytest_diffbench.measure.rounds import drive_plainly
from pytest_diffbench.measure.runner import Plan
from pytest_diffbench.records import Baseline, CaseReport, Definition, baseline_of
from pytest_diffbench.records.artifacts import Reference
from pytest_diffbench.session.comparing import Asked, CaseMeasurement, compare

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_diffbench.records import Probe
    from pytest_diffbench.records.answer import CaseAnswer
    from pytest_diffbench.session.compared import Compared

CALL: dict[str, Any] = {"num_inference_steps": 4, "height": 32, "width": 32}


def side_by_side(variants: Mapping[str, tuple[Any, dict[str, Any]]], **how: Any) -> Compared:
    """Measure variants, each a target and its own arguments, against the first."""
    asked = []
    for name, (target, own) in variants.items():
        kwargs = CALL | own
        plan = Plan(
            case_id=f"case#{name}",
            device="cpu",
            definition=Definition(
                pipeline=definition.name_of(target),
                weights="own",
                dtype="float32",
                seed=0,
                arguments=describe(definition.bind(target, (PROMPT,), kwargs)),
            ),
            rounds=2,
            warmup_rounds=0,
        )
        asked.append(Asked(name, plan, target, (PROMPT,), kwargs))
    return compare(
        asked,
        next(iter(variants)),
        comparison_id="case",
        argument=None,
        confidence=0.99,
        precision_rel=9.0,
        seed=0,
        drive=drive_plainly,
        progress=lambda *_: None,
        measurements=[],
        comparisons=[],
        **how,
    )


def probed(target: Any, call: dict[str, Any], earlier: Probe | None = None) -> CaseMeasurement:
    """A plain call, measured and probed."""
    measurement = CaseMeasurement(prepared(target, PROMPT, rounds=2, **call))
    measurement.take(drive_plainly, lambda *_: None)
    plan = measurement.measurement._plan
    measurement.look_closer(Asked("", plan, target, (PROMPT,), call), lambda *_: False, lambda _: earlier)
    return measurement


def baseline_by(target: Any, call: dict[str, Any]) -> Reference:
    """A probed call as this machine's baseline, after a round trip through JSON."""
    saved = probed(target, call)
    written = msgspec.json.encode(baseline_of(saved.observation(complete=True)))
    return Reference(msgspec.json.decode(written, type=Baseline), "machine", "baselines/case", saved.artifacts)


def answer_beside(reference: Reference, target: Any, call: dict[str, Any]) -> CaseAnswer:
    """The answer to a plain call beside its baseline, where the time gate took it for faster."""
    measurement = probed(target, call, reference.baseline.probe)
    observation = measurement.observation(complete=True)
    gates = judge(observation, measurement.artifacts(), reference, Limits(), ("work", "guidance", "output", "memory"))
    report = CaseReport(
        observation=observation,
        verdicts=(*gates, verdict("time.faster")),
        suspicions=case_suspicions(observation, reference, Limits()),
    )
    (found,) = answer(report_factories.session(report)).cases
    return found
