"""Invariants of a sound pipeline, and of one with a fault of diffusers' own: words, command and fixture."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import judge_factories
import msgspec
import pytest
from tiny_pipelines import build_tiny

from pytest_diffbench.commands import main as cli
from pytest_diffbench.errors import MeasureError, OptionError
from pytest_diffbench.invariants import CODES, off_switch, verify
from pytest_diffbench.invariants.invariant import Undecided
from pytest_diffbench.records import Check, OutputDistance, Verification, as_json
from pytest_diffbench.records.verification import ANSWERS
from pytest_diffbench.report import session_json
from pytest_diffbench.report.lines import plain
from pytest_diffbench.report.sentences.invariants import CLAIMS, undecided_sentence
from pytest_diffbench.report.verification import broken_text, verification_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.usefixtures("real_libraries")

ROOT = Path(__file__).parent.parent.parent
PROMPT = "a large red circle on a blue background"
SMALL: dict[str, Any] = {"prompt": PROMPT, "num_inference_steps": 2, "height": 32, "width": 32}
KNOWN = "batch.prompts_and_images"
"""What is broken in diffusers' Lumina2Pipeline."""

tiny = functools.cache(build_tiny)


def checked(*only: str, name: str = "lumina2", **more: Any) -> Verification:
    return verify(tiny(name), SMALL, only=only, **more)


def test_a_fault_of_diffusers_is_detected_without_a_baseline() -> None:
    verification = checked("batch.prompts", KNOWN, "off.unconditional_calls")
    assert [check.code for check in verification.having("broken")] == [KNOWN]
    assert {check.code for check in verification.having("holds")} == {"batch.prompts", "off.unconditional_calls"}


def test_what_does_not_apply_says_why() -> None:
    (check,) = checked("off.picture", name="flux").checks
    assert (check.answer, check.obstacle) == ("not_applicable", "no_guidance")
    assert "no unconditional call was made (true_cfg_scale=1)" in undecided_sentence(check)


def test_a_call_leaves_the_pipeline_unchanged() -> None:
    pipeline = tiny("lumina2")
    pipeline(**SMALL)  # notes its arguments on itself
    before = dict(vars(pipeline))
    checked("repeat.second_call", "chunks", "callback")
    assert vars(pipeline) == before


@pytest.mark.parametrize(
    ("asked", "scale", "off"),
    [(7.5, 7.4, 1.0), (7.5, 8.6, 0.0), (7.5, 7.3, None), (1.2, 1.19, 1.0), (0.5, 0.5, 1.0), (0.5, 0.47, None)],
)
def test_a_scale_read_is_the_argument_up_to_two_percent(asked: float, scale: float, off: float | None) -> None:
    steps = (judge_factories.guided_step(scale=scale),)
    reference = SimpleNamespace(work=judge_factories.work(), guidance=judge_factories.guidance(steps))
    without = SimpleNamespace(work=judge_factories.work([judge_factories.group("cond", "0-29")]))
    calls: list[dict[str, float]] = []

    def attempt(**arguments: float) -> SimpleNamespace:
        calls.append(arguments)
        return without

    defaults = {"guidance_scale": asked}
    subject: Any = SimpleNamespace(defaults=defaults, parameters=defaults, reference=reference, attempt=attempt)
    if off is None:
        with pytest.raises(Undecided):
            off_switch.no_unconditional_call(subject)
    else:
        assert off_switch.no_unconditional_call(subject).answer == "holds"
    assert calls == ([{"guidance_scale": off}] if off is not None else [])


@pytest.mark.full
def test_a_waived_fault_keeps_the_reason() -> None:
    verification = checked(KNOWN, waive={KNOWN: "diffusers #13634"})
    assert not verification.having("broken")
    (check,) = verification.having("broken", waived=True)
    assert check.waived == "diffusers #13634"
    assert "waived  batch.prompts_and_images" in plain(verification_lines(verification, 120))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"only": ["batches"]}, "only: there is no invariant 'batches'"),
        ({"waive": {"batch": "x"}}, "waive: there is no invariant 'batch'"),
        ({"waive": {KNOWN: " "}}, f"waive: '{KNOWN}' has no reason"),
    ],
)
def test_unknown_codes(more: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        verify(tiny("lumina2"), SMALL, **more)


def test_a_failing_call_is_no_finding() -> None:
    with pytest.raises(MeasureError, match=r"Lumina2Pipeline failed at the call .*Give the arguments that it needs"):
        verify(tiny("lumina2"), SMALL | {"prompt": None})


def test_a_target_without_outputs_is_refused() -> None:
    with pytest.raises(MeasureError, match="there is nothing to verify"):
        verify(lambda: None, {})


def test_every_invariant_has_words_and_stands_in_the_docs() -> None:
    assert list(CLAIMS) == list(CODES)
    docs = (ROOT / "docs" / "verify.md").read_text(encoding="utf-8")
    for code, claim in CLAIMS.items():
        assert f"| `{code}` | {claim.claim} |" in docs, code


# -- words


def check(answer: str, **facts: Any) -> Check:
    return Check(code=KNOWN, answer=answer, **facts)  # type: ignore[arg-type]  # one of ANSWERS


def verification(*checks: Check) -> Verification:
    return Verification(
        pipeline="Lumina2Pipeline",
        arguments={},
        seed=0,
        calls=28,
        duration_s=11.2,
        digest=None,
        rounding_rel=8e-7,
        checks=checks,
        software={"torch": "2.13.0"},
    )


def text_of(*checks: Check, verbose: bool = False, width: int = 120) -> str:
    return plain(verification_lines(verification(*checks), width, verbose=verbose))


def test_a_broken_invariant_says_what_how_much_where_the_limit_and_what_to_do() -> None:
    gap = OutputDistance(distance_rel=1.06, limit_rel=1e-4, sensitivity_rel=1.88)
    text = " ".join(text_of(check("broken", distance=gap, where=("samples 1, 2",))).split())
    claim = CLAIMS[KNOWN]
    for part in (claim.broken, "samples 1, 2", "106 % apart, limit 0.01 %", "188 %", claim.meaning, claim.remedy):
        assert part in text
    assert text.endswith("1 broken")


def test_incomparable_outputs_are_called_different() -> None:
    gap = OutputDistance(distance_rel=None, limit_rel=1e-4)
    assert "different sizes, or values that aren't finite" in text_of(check("broken", distance=gap))


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("width", [40, 100])
def test_lines_keep_within_the_width(answer: str, width: int) -> None:
    gap = OutputDistance(distance_rel=0.5, limit_rel=1e-4, sensitivity_rel=0.1)
    facts = {"obstacle": "refused", "message": "ValueError: no"} if answer in ("unable", "not_applicable") else {}
    for verbose in (False, True):
        lines = text_of(check(answer, distance=gap, **facts), verbose=verbose, width=width).splitlines()
        assert all(len(line) <= width for line in lines)


def test_the_text_of_a_failed_test_names_the_way_to_accept() -> None:
    text = broken_text(verification(check("broken", observed=3, expected=0)))
    first, *_, last = text.splitlines()
    assert first == f"diffbench: Lumina2Pipeline is wrong without any baseline: {KNOWN}"
    assert f'waive={{"{KNOWN}": "..."}}' in last
    assert "Observed: 3, expected: 0" in text


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, None),
        ({"expected": 0}, "Observed: None, expected: 0"),
        ({"observed": 3}, "Observed: 3, expected: None"),
        ({"expected": 0, "distance": OutputDistance(distance_rel=0.5, limit_rel=1e-4)}, None),
    ],
    ids=["neither", "expected", "observed", "a distance"],
)
def test_figures_are_reported_where_there_are_any(facts: dict[str, Any], said: str | None) -> None:
    text = broken_text(verification(check("broken", where=("steps 0-2",), **facts)))
    assert "steps 0-2" in text
    assert said in text if said is not None else "Observed" not in text


def test_an_answer_without_a_check_is_not_listed() -> None:
    labels = {line.split()[0] for line in text_of(check("broken")).splitlines() if line.strip()}
    assert "broken" in labels
    assert not labels & {"waived", "unable", "holds", "n/a"}


def test_the_json_can_be_read_back() -> None:
    verified = verification(check("broken", distance=OutputDistance(distance_rel=None, limit_rel=1e-4)))
    assert msgspec.json.decode(as_json(verified), type=Verification) == verified


# -- the command


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lumina3"], "there is no such model or folder"),
        (["./nowhere"], "there is no such model or folder"),
        (["lumina2", "--only", "batches"], "--only: there is no invariant 'batches'"),
        (["lumina2", "--waive", KNOWN], f"--waive '{KNOWN}' has no reason"),
        (["lumina2", "--steps", "0"], "--steps: is a whole number, at least 1, not '0'"),
        (["lumina2", "--dtype", "bf17"], "did you mean 'bf16'"),
        (["lumina2", "--device", "gpu"], "did you mean 'cuda'"),
        (["lumina2", "--set", "heigth=32"], "heigth"),
    ],
)
def test_what_cannot_be_used_is_named(
    arguments: Sequence[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["verify", *arguments]) == cli.UNUSABLE
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "status"),
    [([], cli.WORSE), pytest.param(["--waive", f"{KNOWN}=known upstream"], cli.FINE, marks=pytest.mark.full)],
    ids=["found", "waived"],
)
def test_the_command_detects_the_fault_in_the_mini(
    more: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["lumina2", "--only", KNOWN, "--steps", "1", "--one-process", "--json", *more]
    assert cli.main(["verify", *arguments]) == status
    verification = json.loads(capsys.readouterr().out)
    assert verification["source"] == "lumina2"
    assert [check["answer"] for check in verification["checks"]] == ["broken"]


# -- the fixture

TEST_FILE = f"""
import functools
from tiny_pipelines import build_tiny

build_tiny = functools.cache(build_tiny)
SMALL = dict(num_inference_steps=1, height=32, width=32)

def test_waived(diffbench):
    waive = {{"{KNOWN}": "upstream"}}
    found = diffbench.verify(build_tiny("lumina2"), "{PROMPT}", only=["{KNOWN}"], waive=waive, **SMALL)
    assert found.checks[0].answer == "broken"

def test_broken(diffbench):
    diffbench.verify(build_tiny("lumina2"), "{PROMPT}", only=["{KNOWN}"], **SMALL)
"""


def test_the_fixture_fails_a_test_and_prints_what_was_waived(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_verified=TEST_FILE)
    result = pytester.runpytest_inprocess("--diffbench", "--diffbench-json=session.json")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            f"diffbench: Lumina2Pipeline is wrong without any baseline: {KNOWN}",
            "verified*test_waived: 1 waived",
            f"*waived {KNOWN}: upstream",
            "*test_broken: 1 broken",
        ]
    )
    session = session_json.load(pytester.path / "session.json")
    assert [verification.test for verification in session.verifications] == [
        "test_verified.py::test_waived",
        "test_verified.py::test_broken",
    ]
