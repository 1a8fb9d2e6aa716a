"""Formulas without a pipeline: what others would do, what has no effect, and formulas of one's own."""

from __future__ import annotations

import doctest
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pytest_diffbench.errors import OptionError
from pytest_diffbench.judge.guidance import formulas
from pytest_diffbench.judge.guidance.formula import Call, Expected
from pytest_diffbench.judge.guidance.formula_diffusers import lumina2, stable_diffusion, z_image
from pytest_diffbench.judge.guidance.formulas import FORMULAS, formula_of, register
from pytest_diffbench.judge.guidance.gate import inert
from pytest_diffbench.records import Guidance, GuidanceStep
from pytest_diffbench.records.artifacts import Artifacts
from pytest_diffbench.report.sentences.guidance import inert_argument
from pytest_diffbench.session.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

LUMINA: dict[str, Any] = {
    "num_inference_steps": 50,
    "guidance_scale": 4.0,
    "cfg_trunc_ratio": 1.0,
    "cfg_normalization": True,
    "negative_prompt": None,
}
FLUX: dict[str, Any] = {
    "num_inference_steps": 4,
    "guidance_scale": 3.5,
    "true_cfg_scale": 1.0,
    "negative_prompt": None,
}
Z_IMAGE: dict[str, Any] = {
    "num_inference_steps": 4,
    "guidance_scale": 5.0,
    "cfg_truncation": 1.0,
    "cfg_normalization": False,
}


@pytest.fixture
def registry() -> Iterator[None]:
    """Forget what a test registers."""
    before = dict(FORMULAS)
    yield
    FORMULAS.clear()
    FORMULAS.update(before)


def call(defaults: dict[str, Any], takes: str = "", **passed: Any) -> Call:
    return Call(arguments=defaults | passed, passed=passed, denoiser_takes=frozenset(takes.split()))


@pytest.mark.parametrize(
    ("ratio", "authors", "paper"),
    # at 50 steps, shift 6 and threshold .25 the authors guide 34 steps, which in diffusers is a ratio of about .67
    [(0.25, 34, 16), (1.0, 50, 0), (0.0, 0, 50)],
)
def test_what_the_authors_and_the_paper_would_do_is_reported(ratio: float, authors: int, paper: int) -> None:
    references = lumina2(call(LUMINA, cfg_trunc_ratio=ratio)).references
    assert references["authors"].startswith(f"{authors} of 50 steps guided at their threshold {ratio:g}")
    assert references["paper"].startswith(f"{paper} of 50 steps guided")
    assert "shrink" in references["authors"]
    assert "shrink" not in lumina2(call(LUMINA, cfg_trunc_ratio=ratio, cfg_normalization=False)).references["authors"]
    assert lumina2(call(LUMINA, guidance_scale=1.0)).references == {}


@pytest.mark.parametrize(
    ("model", "user_call", "pointed_out"),
    [
        ("Lumina2Pipeline", call(LUMINA), []),
        ("Lumina2Pipeline", call(LUMINA, cfg_trunc_ratio=0.5, negative_prompt="x", cfg_normalization=True), []),
        ("Lumina2Pipeline", call(LUMINA, cfg_trunc_ratio=1.0), ["cfg_trunc_ratio 1 (truncates no step)"]),
        ("Lumina2Pipeline", call(LUMINA, cfg_trunc_ratio=0.99), []),  # the last step is cut
        (
            "Lumina2Pipeline",
            call(LUMINA, guidance_scale=1.0, cfg_trunc_ratio=0.5, cfg_normalization=False, negative_prompt=["x"]),
            [
                "cfg_trunc_ratio 0.5 (guidance_scale 1 switches guidance off)",
                "cfg_normalization False (guidance_scale 1 switches guidance off)",
                "negative_prompt (guidance_scale 1 switches guidance off)",
            ],
        ),
        ("FluxPipeline", call(FLUX, "guidance", guidance_scale=3.5), []),
        (
            "FluxPipeline",
            call(FLUX, "img_ids", guidance_scale=3.5),
            ["guidance_scale 3.5 (the model takes no guidance scale)"],
        ),
        ("FluxPipeline", call(FLUX, guidance_scale=3.5), []),  # what the denoiser takes wasn't seen
        ("FluxPipeline", call(FLUX, "guidance", true_cfg_scale=4.0), ["true_cfg_scale 4 (no negative prompt)"]),
        ("FluxPipeline", call(FLUX, "guidance", true_cfg_scale=1.0), []),
        ("FluxPipeline", call(FLUX, "guidance", negative_prompt="x"), ["negative_prompt (no true CFG)"]),
        ("FluxPipeline", call(FLUX, "guidance", negative_prompt="x", true_cfg_scale=4.0), []),
        ("ZImagePipeline", call(Z_IMAGE, cfg_truncation=1.0), ["cfg_truncation 1 (truncates no step)"]),
    ],
)  # fmt: skip
def test_arguments_without_effect_are_pointed_out(model: str, user_call: Call, pointed_out: list[str]) -> None:
    assert list(map(inert_argument, inert(user_call, FORMULAS[model](user_call)))) == pointed_out


def test_a_threshold_too_near_the_end_for_any_cut_is_pointed_out() -> None:
    times = (1000.0, 750.0, 500.0, 250.0)  # the last at .75
    user_call = Call(arguments=Z_IMAGE | {"cfg_truncation": 0.8}, passed={"cfg_truncation": 0.8}, timesteps=times)
    assert list(map(inert_argument, inert(user_call, z_image(user_call)))) == [
        "cfg_truncation 0.8 (truncates no step)"
    ]
    cut = Call(arguments=Z_IMAGE | {"cfg_truncation": 0.7}, passed={"cfg_truncation": 0.7}, timesteps=times)
    assert z_image(cut).guided == {0, 1, 2}
    assert inert(cut, z_image(cut)) == ()


def test_truncation_by_time_needs_the_times() -> None:
    with pytest.raises(formulas.UnknownArgumentError, match="timesteps"):
        z_image(Call(arguments=Z_IMAGE | {"cfg_truncation": 0.5}, passed={}, timesteps=(None,) * 4))


def test_a_model_with_the_scale_as_input_is_not_guided() -> None:
    arguments = {"num_inference_steps": 4, "guidance_scale": 8.0, "guidance_rescale": 0.0}
    expected = stable_diffusion(call(arguments, "sample timestep_cond"))
    assert (expected.enabled, expected.guided) == (False, frozenset())


def test_the_example_of_register_runs(registry: None) -> None:
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(register, "register", globs={})
    done = doctest.DocTestRunner().run(example, clear_globs=False)
    assert (done.failed, done.attempted) == (0, 3)
    expected = FORMULAS["HalfGuidedPipeline"](call({"num_inference_steps": 5, "guidance_scale": 3.0}))
    assert expected.guided == {0, 1}
    assert expected.scale == 3.0
    assert expected.renorm == "none"


def never(user_call: Call) -> Expected:
    return Expected(
        steps=user_call.steps(), guided=frozenset(), scale=1.0, sign=1, enabled=False, truncation="never guided"
    )


def test_a_class_is_registered_by_itself_or_by_name_and_once(registry: None) -> None:
    class OwnPipeline:
        pass

    register(OwnPipeline, never)
    register("Mine", never)
    assert FORMULAS["Mine"] is never
    with pytest.raises(OptionError, match="Mine already has a guidance formula"):
        register("Mine", lumina2)
    with pytest.raises(OptionError, match="Lumina2Pipeline"):
        register("Lumina2Pipeline", never)


def test_the_formula_of_the_class_comes_before_the_formula_of_the_call(registry: None) -> None:
    def guidance(pipeline: str, call_class: str | None) -> Guidance:
        return Guidance(pipeline=pipeline, call_class=call_class, arguments={}, dtype_eps=1.0, steps=())

    assert formula_of(guidance("House", "Lumina2Pipeline")) is lumina2
    assert formula_of(guidance("House", "House")) is None
    assert formula_of(guidance("House", None)) is None
    register("House", never)
    assert formula_of(guidance("House", "Lumina2Pipeline")) is never


def test_a_test_sees_what_every_step_did() -> None:
    steps = (
        GuidanceStep(branches=("joint",), used="guided", sign=1, scale=4.0, cosine=0.9, norm_ratio=1.2),
        GuidanceStep(branches=("cond",), used="cond", sign=1, norm_ratio=1.0),
        GuidanceStep(branches=("unknown",), used="unknown", sign=0),
    )
    record = Guidance(pipeline="Any", arguments={"a": 1}, dtype_eps=1e-7, steps=steps)
    old = msgspec.json.decode(msgspec.json.encode(record), type=Guidance)
    assert old == record
    guidance = _result(record).guidance
    assert (guidance.guided_steps, guidance.pipeline, guidance.arguments) == (1, "Any", {"a": 1})
    assert [step.guided for step in guidance.steps] == [True, False, False]
    assert [step.branch for step in guidance.steps] == ["joint", "cond", "unknown"]
    step_figures = [(step.scale, step.cosine, step.norm_ratio) for step in guidance.steps[:2]]
    assert step_figures == [(4.0, 0.9, 1.2), (None, None, 1.0)]


def test_a_record_of_an_older_version_is_read() -> None:
    step = b'{"branches": ["cond"], "used": "cond", "sign": -1}'
    data = b'{"pipeline": "Any", "arguments": {}, "dtype_eps": 1e-7, "steps": [' + step + b"]}"
    record = msgspec.json.decode(data, type=Guidance)
    assert (record.call_class, record.steps[0].samples, record.steps[0].cosine) == (None, (), None)


def _result(guidance: Guidance) -> Result:
    class Observation:
        pass

    holder: Any = Observation()
    holder.guidance = guidance
    return Result(observation=holder, artifacts=Artifacts(images=(), trace={}))
