"""A session for the tests of the page: every verdict, every kind of output, and what is at hand of each case."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comparison_factories
import msgspec
import numpy as np
import report_factories as make
import returned_parts as returned
from PIL import Image
from report_records import lumina

from pytest_diffbench.judge import Limits, judge
from pytest_diffbench.outputs.pixels import image_digest
from pytest_diffbench.records import (
    GATES,
    CaseReport,
    Comparison,
    ImageFacts,
    Observation,
    Operator,
    Profile,
    SessionReport,
    StageMemory,
    baseline_of,
)
from pytest_diffbench.records.artifacts import Artifacts, Reference, Sides
from pytest_diffbench.records.details import OperatorChange, OutputDetails, TimeDetails, TraceDetails
from pytest_diffbench.report.html.page import SessionSource
from pytest_diffbench.report.sentences import all_worded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_diffbench.measure.returned import ReadPart

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \" ' & {{ 7 * 7 }}"
"""What a prompt may hold and must stay text."""

_TRUNCATED, _WHOLE = 13, 16
"""Pictures of one prompt, guided in a quarter of the steps and in all of them."""

PAINTED = Path(__file__).parents[2] / "baselines"
"""Where pictures of the minis are."""


@dataclasses.dataclass(slots=True)
class Gallery:
    """A session, and what is at hand of its cases."""

    session: SessionReport
    sides: dict[str, Sides]

    def source(self, label: str = "") -> SessionSource:
        """As the page takes it."""
        return SessionSource(
            self.session, lambda report, _arrays: self.sides.get(report.observation.case.id, Sides()), label
        )


def painted(number: int = 0, side_px: int | None = None) -> NDArray[np.uint8]:
    """A picture that a mini painted, (height, width, 3); enlarged where that is wanted."""
    paths = sorted(PAINTED.glob("*/*/image-0.png"))
    with Image.open(paths[number % len(paths)]) as image:
        colours = image.convert("RGB")
        if side_px is not None:
            colours = colours.resize((side_px, side_px), Image.Resampling.BICUBIC)
        pixels: NDArray[np.uint8] = np.array(colours)
        return pixels


def moved(picture: NDArray[np.uint8], by_px: int = 6) -> NDArray[np.uint8]:
    """A picture of which a square went to the right, with a little noise elsewhere."""
    noise = np.random.default_rng(0).integers(-2, 3, picture.shape)
    changed: NDArray[np.uint8] = np.clip(picture.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    height, width = picture.shape[:2]
    rows, columns = slice(height // 4, 3 * height // 4), slice(width // 4, 3 * width // 4)
    changed[rows, columns] = np.roll(picture[rows, columns], by_px, axis=1)
    return changed


def imaged(observation: Observation, *pictures: NDArray[np.uint8]) -> Observation:
    """A case that returned these pictures."""
    assert observation.output is not None
    facts = tuple(
        ImageFacts(
            width_px=picture.shape[1],
            height_px=picture.shape[0],
            mode="RGB",
            constant=False,
            digest=image_digest(picture),
        )
        for picture in pictures
    )
    return msgspec.structs.replace(observation, output=msgspec.structs.replace(observation.output, images=facts))


def judged(
    now: Observation,
    then: Observation,
    new: Artifacts,
    old: Artifacts,
    *,
    fresh: Sequence[Any] = (),
    trace: bool = False,
    **fields: Any,
) -> tuple[CaseReport, Sides]:
    """A case beside its baseline, with the verdicts of the real judge, and both sides to look at."""
    baseline = baseline_of(then, make.past_runs(then))
    reference = Reference(baseline, "machine", make.BASELINE, lambda: old)
    answers = judge(now, new, reference, Limits(), GATES, more_runs=fresh)
    verdicts = all_worded(_with_trace(answer) if trace else answer for answer in answers)
    fields = {"baseline_path": make.BASELINE, "baseline_distance": "machine"} | fields
    return CaseReport(observation=now, verdicts=verdicts, **fields), Sides(now=new, base=old, baseline=baseline)


def _with_trace(verdict: Any) -> Any:
    """A verdict on output with a curve, or one on time with kernels, as measurements of a real pipeline have."""
    match verdict.details:
        case OutputDetails() as details:
            gaps_rel = [3e-7 * 1.2**step if step < 15 else min(0.02 * 1.35 ** (step - 15), 0.4) for step in range(30)]
            series = [("text/0", 0.0)]
            for step, gap_rel in enumerate(gaps_rel):
                series += [
                    (f"prediction/{step}/cond", 1.2 * gaps_rel[max(step - 1, 0)]),
                    (f"latents/{step}", gap_rel),
                ]
            trace = TraceDetails(place="latents/15", course="jump", threshold_rel=0.01, series=tuple(series))
            return msgspec.structs.replace(verdict, details=msgspec.structs.replace(details, trace=trace))
        case TimeDetails() as details:
            changes = (
                OperatorChange(
                    stage="denoise", name="aten::addmm", calls=(540, 720), seconds=(0.31, 0.42), added_rel=0.62
                ),
                OperatorChange(
                    stage="denoise", name="aten::copy_", calls=(0, 240), seconds=(0.0, 0.05), added_rel=0.27
                ),
                OperatorChange(stage="vae_decode", name="aten::silu", calls=(22, 0), seconds=(0.006, 0.0)),
            )
            return msgspec.structs.replace(verdict, details=msgspec.structs.replace(details, operators=changes))
    return verdict


def gallery(side_px: int = 256) -> Gallery:
    """All of it.

    Args:
        side_px: of its pictures.
    """
    pairs: list[tuple[CaseReport, Sides]] = [_truncation(side_px), _kinds(), _memory(side_px), *_plain(side_px)]
    red = make.red()
    known = {report.observation.case.id for report, _ in pairs}
    pairs += [(report, Sides()) for report in red.cases if report.observation.case.id not in known]
    swept = comparison_factories.swept()
    pairs += _swept(swept, side_px)
    variants = tuple(
        msgspec.structs.replace(variant, case_id=f"{swept.id}#{variant.name}") for variant in swept.variants
    )
    reports = [report for report, _ in pairs]
    session = msgspec.structs.replace(
        make.session(*reports, missing=red.missing_baselines),
        comparisons=(msgspec.structs.replace(swept, variants=variants),),
        command=("pytest", "--diffbench-weights=mini"),
    )
    return Gallery(session, {report.observation.case.id: sides for report, sides in pairs})


def _truncation(side_px: int) -> tuple[CaseReport, Sides]:
    """Worse in work, guidance, output and time, with all that a reader may want to look at."""
    base, now = painted(_TRUNCATED, side_px), painted(_WHOLE, side_px)
    before = imaged(lumina("test_cfg_trunc[0.5]", ratio=0.5), base)
    after = imaged(lumina("test_cfg_trunc[0.5]", ratio=0.5, guided=30), now)
    profile = Profile(
        kind="cpu",
        total_s=0.81,
        operators=(
            Operator(name="aten::addmm", stage="denoise", calls=720, self_s=0.42),
            Operator(name="aten::_scaled_dot_product_flash_attention", stage="denoise", calls=360, self_s=0.19),
            Operator(name="aten::convolution", stage="vae_decode", calls=31, self_s=0.09),
        ),
    )
    after = msgspec.structs.replace(after, profile=profile)
    return judged(
        after,
        before,
        Artifacts(images=(now,)),
        Artifacts(images=(base,)),
        fresh=make._fresh(after),
        trace=True,
        changed_since=("torch 2.12.0 -> 2.13.0", "git_commit 90bd22f1a6c3 -> 1c9d2e7a40b1"),
    )


def _kinds() -> tuple[CaseReport, Sides]:
    """A film that freezes, a recording with its polarity inverted, a map that moved, latents and embeddings."""
    film = returned.film(12, 96, 128)
    frozen = film.copy()
    frozen[7:] = film[7]
    sound = returned.recording()
    depth, noise = returned.depth(), returned.latents()
    embeds = np.random.default_rng(1).normal(size=(1, 7, 32)).astype(np.float32)
    before = _parts(film, sound, depth, noise, embeds)
    after = _parts(frozen, -sound * np.float32(0.7), depth[:, :, ::-1].copy(), noise * np.float32(1.2), embeds + 0.4)
    observed = lumina("test_every_kind")
    old, new = (msgspec.structs.replace(observed, output=returned.output_of(parts)) for parts in (before, after))
    return judged(new, old, returned.artifacts_of(after), returned.artifacts_of(before))


def _parts(film: Any, sound: Any, depth: Any, noise: Any, embeds: Any) -> list[ReadPart]:
    return [
        *returned.read("frames", film),
        *returned.read("audio", sound),
        *returned.read("prediction", depth),
        *returned.read("latents", noise),
        *returned.read("prompt_embeds", embeds),
        *returned.read("weights", np.linspace(0, 1, 40, dtype=np.float32)[None]),
    ]


def _memory(side_px: int) -> tuple[CaseReport, Sides]:
    """The same picture, in more memory."""
    picture = painted(1, side_px)
    before = imaged(lumina("test_tiled_decode", steps=20), picture)
    assert before.memory is not None
    grown = msgspec.structs.replace(
        before.memory,
        source="cuda_allocator",
        peak_bytes=1_440_000_000,
        stages={"denoise": StageMemory(peak_bytes=851_443_712), "vae_decode": StageMemory(peak_bytes=1_440_000_000)},
    )
    usual = msgspec.structs.replace(before.memory, source="cuda_allocator")
    art = Artifacts(images=(picture,))
    return judged(
        msgspec.structs.replace(before, memory=grown), msgspec.structs.replace(before, memory=usual), art, art
    )


def _swept(swept: Comparison, side_px: int) -> list[tuple[CaseReport, Sides]]:
    """The cases of a sweep, each with its picture."""
    cases: list[tuple[CaseReport, Sides]] = []
    for number, variant in enumerate(swept.variants):
        picture = painted(_WHOLE - number, side_px)
        observed = imaged(lumina("any", ratio=float(variant.name)), picture)
        case = msgspec.structs.replace(observed.case, id=f"{swept.id}#{variant.name}")
        art = Artifacts(images=(picture,))
        observed = msgspec.structs.replace(observed, case=case)
        cases.append(judged(observed, observed, art, art))
    return cases


def _plain(side_px: int) -> list[tuple[CaseReport, Sides]]:
    """A hostile prompt, and cases that are as they were."""
    cases: list[tuple[CaseReport, Sides]] = []
    for number, name in enumerate(
        (f"test_prompt[{HOSTILE[:31]}]", "test_seeds[0]", "test_seeds[2]", "test_long_prompt")
    ):
        picture = painted(number + 2, side_px)
        observed = imaged(lumina(name), picture)
        if not number:
            definition = observed.case.definition
            arguments = definition.arguments | {"prompt": HOSTILE}
            case = msgspec.structs.replace(
                observed.case, definition=msgspec.structs.replace(definition, arguments=arguments)
            )
            observed = msgspec.structs.replace(observed, case=case)
        art = Artifacts(images=(picture,))
        cases.append(judged(observed, observed, art, art))
    return cases


def many(cases: int, failing: int, side_px: int = 256) -> Gallery:
    """A large session: cases that differ beyond their limits, and others that are as they were."""
    pictures = [painted(number, side_px) for number in range(8)]
    worse = [_worse(number, pictures[number % 8], side_px) for number in range(min(failing, 8))]
    same = [make.report(imaged(lumina(f"test_same[{number}]"), pictures[number])) for number in range(8)]
    baselines = [baseline_of(report.observation, make.past_runs(report.observation)) for report in same]
    reports: list[CaseReport] = []
    sides: dict[str, Sides] = {}
    for number in range(cases):
        kind = number % 8
        if number < failing:
            report, side = worse[number % len(worse)]
        else:
            report = same[kind]
            art = Artifacts(images=(pictures[kind],))
            side = Sides(now=art, base=art, baseline=baselines[kind])
        name = f"benchmarks/test_large.py::test_{'worse' if number < failing else 'same'}[prompt {number}]"
        case = msgspec.structs.replace(report.observation.case, id=name)
        observation = msgspec.structs.replace(report.observation, case=case)
        reports.append(msgspec.structs.replace(report, observation=observation))
        sides[name] = side
    return Gallery(make.session(*reports), sides)


def _worse(number: int, picture: NDArray[np.uint8], side_px: int) -> tuple[CaseReport, Sides]:
    now = moved(picture, side_px // 24 + number)
    name = f"test_worse[{number}]"
    return judged(
        imaged(lumina(name), now),
        imaged(lumina(name), picture),
        Artifacts(images=(now,)),
        Artifacts(images=(picture,)),
        trace=True,
    )
