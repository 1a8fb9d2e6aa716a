"""The answer for programs: what rules out a gain comes first, and what wasn't asked is no gain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import comparison_factories
import judge_factories as make
import msgspec
import pytest
import report_factories

from pytest_diffbench.commands.main import ANSWERED, main
from pytest_diffbench.judge.answer import answer
from pytest_diffbench.judge.gains import suspicions
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.records import CaseReport, ImageDifference, Probe, SessionReport, Speedup
from pytest_diffbench.records.answer import WORDS
from pytest_diffbench.report import session_json

if TYPE_CHECKING:
    from pathlib import Path

SAME = ImageDifference(same_bits=True)
OTHER = ImageDifference(same_bits=False, problem="different size")
AS_EVER = {"guidance": "guidance.same", "memory": "memory.same", "output": "output.same_bits"}
PROBE = Probe(prompt="a tiny blue star", fresh_s=12.0, round_s=12.0, steps=make.STEPS)


def compared(speedup: float = 1.5, **changed: Any) -> SessionReport:
    comparison = comparison_factories.named()
    full, half, *_ = comparison.variants
    known = {
        "speedup_rel": Speedup(value=speedup, low=speedup - 0.05, high=speedup + 0.05),
        "image_difference": SAME,
        "probed": True,
    }
    variants = (full, msgspec.structs.replace(half, **(known | changed)))
    session = comparison_factories.session(msgspec.structs.replace(comparison, variants=variants))
    return msgspec.structs.replace(session, cases=())


def case(*, suspicions: tuple[Any, ...] | None = (), **reasons: str) -> SessionReport:
    given = {"work": "work.less", "time": "time.faster", **AS_EVER, **reasons}
    report = CaseReport(
        observation=make.observation(),
        verdicts=tuple(verdict(reason) for reason in given.values() if reason),
        suspicions=suspicions,
    )
    return report_factories.session(report)


@pytest.mark.parametrize(
    ("session", "word"),
    [
        (compared(1.5), "faster"),
        (compared(1.0), "same"),
        (compared(0.8), "slower"),
        (compared(1.0, inert=True), "inert"),
        (compared(image_difference=OTHER), "wrong"),
        (compared(image_difference=OTHER, tier="lossless"), "faster"),
        (compared(tier="broken"), "wrong"),
        (compared(wrong_guidance="guidance.missing_steps"), "wrong"),
        (compared(suspicions=("seed_ignored",)), "wrong"),
        (compared(suspicions=("only_repeats_are_fast",)), "invalid"),
        (compared(probed=False), "invalid"),
        (compared(speedup_rel=None), "invalid"),
        (compared(image_difference=None), "invalid"),
        (compared(error="RuntimeError: no"), "invalid"),
        (case(), "faster"),
        (case(suspicions=None), "invalid"),
        (case(suspicions=("hidden_prompt_differs",)), "wrong"),
        (case(suspicions=("threads_left",)), "invalid"),
        (case(time="time.same", suspicions=None), "same"),
        (case(time="time.slower"), "slower"),
        (case(work="work.inert"), "inert"),
        (case(output="output.differs"), "wrong"),
        (case(guidance="guidance.missing_steps"), "wrong"),
        (case(guidance="guidance.no_formula"), "faster"),
        (case(work="work.operators"), "faster"),
        (case(work="work.definition_changed"), "invalid"),
        (case(time="time.few_pairs"), "invalid"),
        (case(output="output.nondeterministic"), "wrong"),
        (case(output=""), "invalid"),
        (case(time=""), "invalid"),
        (report_factories.session(), "invalid"),
        (msgspec.structs.replace(case(), interrupted=True), "invalid"),
    ],
)
def test_the_word_of_a_session(session: SessionReport, word: str) -> None:
    assert answer(session).word == word


def test_what_rules_out_a_gain_stands_for_all() -> None:
    session = msgspec.structs.replace(case(), cases=(*case().cases, *case(time="time.same").cases))
    assert answer(session).word == "faster", "nothing is slower, and something is faster"
    session = msgspec.structs.replace(session, cases=(*session.cases, *case(time="time.slower").cases))
    assert answer(session).word == "slower"
    session = msgspec.structs.replace(session, cases=(*session.cases, *case(output="output.differs").cases))
    assert answer(session).word == "wrong"


def test_the_command_ends_with_a_separate_status_for_every_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ANSWERED.keys() == set(WORDS)
    assert len(set(ANSWERED.values())) == len(WORDS)
    path = tmp_path / "result.json"
    path.write_bytes(session_json.dump(compared(1.5)))
    assert main(["answer", str(path)]) == 0
    assert capsys.readouterr().out == "faster\n"
    path.write_bytes(session_json.dump(compared(suspicions=("seed_ignored",))))
    assert main(["answer", str(path), "--json"]) == ANSWERED["wrong"]
    answer = msgspec.json.decode(capsys.readouterr().out)
    assert (answer["word"], answer["cases"][0]["reasons"]) == ("wrong", ["seed_ignored"])
    assert main(["answer", str(tmp_path / "absent.json")]) == 2


def probed(**changed: Any) -> Any:
    return make.observation(probe=msgspec.structs.replace(PROBE, **changed))


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"ignores_seed": True}, "seed_ignored"),
        ({"ignores_prompt": True}, "prompt_ignored"),
        ({"late_calls": 2}, "work_behind_the_timer"),
        ({"threads": 1}, "threads_left"),
        ({"fresh_s": 24.0}, "only_repeats_are_fast"),
    ],
)
def test_what_the_reference_does_as_well_is_nothing_to_suspect(changed: dict[str, Any], code: str) -> None:
    assert suspicions(probed(**changed), probed()) == (code,)
    assert suspicions(probed(**changed), probed(**changed)) == ()
    assert suspicions(probed(), probed(**changed)) == ()


def test_a_machine_that_became_slower_after_the_rounds_is_nothing_to_suspect() -> None:
    assert suspicions(probed(fresh_s=24.0, repeat_s=20.0), probed()) == ()
    assert suspicions(probed(fresh_s=24.0, repeat_s=0.1), probed()) == ("only_repeats_are_fast",)
    assert suspicions(probed(fresh_s=31.0, repeat_s=20.0), probed()) == ("only_repeats_are_fast",)


def test_another_picture_of_the_hidden_prompt_is_suspected() -> None:
    assert suspicions(probed(), probed(), hidden_differs=True) == ("hidden_prompt_differs",)
    assert suspicions(probed(), probed()) == ()
