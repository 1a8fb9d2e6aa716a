"""How well a run used its device, from synthetic records."""

from __future__ import annotations

import msgspec
import pytest
import report_records

from pytest_diffbench.records import Observation, Telemetry
from pytest_diffbench.records.peaks import PEAKS, peak_reported
from pytest_diffbench.report.efficiency import efficiency_of, rate_text


def on(observation: Observation, device: str | None, dtype: str = "bfloat16") -> Observation:
    """The observation on another device, in another dtype."""
    hardware = {name: fact for name, fact in observation.run.environment.hardware.items() if name != "device"}
    if device is not None:
        hardware["device"] = device
    environment = msgspec.structs.replace(observation.run.environment, hardware=hardware)
    definition = msgspec.structs.replace(observation.case.definition, dtype=dtype)
    return msgspec.structs.replace(
        observation,
        case=msgspec.structs.replace(observation.case, definition=definition),
        run=msgspec.structs.replace(observation.run, environment=environment),
    )


def test_rates_are_counted_flops_over_the_time_of_their_stage() -> None:
    observation = report_records.flux("flux")
    assert observation.work is not None
    flops = {"text_encoder": 10**9, "text_encoder_2": 10**10, "transformer": 10**14, "vae.decode": 10**12}
    observation = msgspec.structs.replace(observation, work=msgspec.structs.replace(observation.work, flops=flops))
    efficiency = efficiency_of(observation)
    assert efficiency is not None
    times_s = observation.run.stage_medians_s
    assert efficiency.flops_per_s == {
        "text_encode": pytest.approx(1.1e10 / times_s["text_encode"]),
        "denoise": pytest.approx(1e14 / times_s["denoise"]),
        "vae_decode": pytest.approx(1e12 / times_s["vae_decode"]),
    }
    assert efficiency.images_per_s == pytest.approx(1 / observation.run.median_s)


def test_other_pipelines_names_are_understood_and_a_helper_takes_the_texts_figure() -> None:
    observation = report_records.flux("flux")
    assert observation.work is not None
    times_s = observation.run.stage_medians_s
    flops = {"prior_text_encoder": 10**9, "text_encoder": 10**9, "transformer": 10**14, "movq.decode": 10**12}
    for more, stages in (
        ({}, {"text_encode", "denoise", "vae_decode"}),
        ({"image_encoder": 5}, {"denoise", "vae_decode"}),
    ):
        work = msgspec.structs.replace(observation.work, flops=flops | more)
        efficiency = efficiency_of(msgspec.structs.replace(observation, work=work))
        assert efficiency is not None
        assert set(efficiency.flops_per_s) == stages
        assert efficiency.flops_per_s["vae_decode"] == pytest.approx(1e12 / times_s["vae_decode"])
        if not more:
            assert efficiency.flops_per_s["text_encode"] == pytest.approx(2e9 / times_s["text_encode"])


@pytest.mark.parametrize(("dtype", "peak"), [("bfloat16", 989.4e12), ("float16", 989.4e12), ("float32", 66.9e12)])
def test_the_share_is_of_the_peak_of_the_dtype(dtype: str, peak: float) -> None:
    efficiency = efficiency_of(on(report_records.flux("flux"), "NVIDIA H100 80GB HBM3", dtype))
    assert efficiency is not None
    assert efficiency.peak_rel == {
        stage: pytest.approx(rate / peak) for stage, rate in efficiency.flops_per_s.items()
    }


@pytest.mark.parametrize("device", [None, "NVIDIA H100", "Some GPU"])
def test_no_share_is_invented_for_an_unknown_device(device: str | None) -> None:
    efficiency = efficiency_of(on(report_records.flux("flux"), device))
    assert efficiency is not None
    assert efficiency.peak is None
    assert efficiency.peak_rel == {}
    assert "peak" not in rate_text(efficiency, "denoise")


def test_a_measured_peak_stands_in_where_none_is_published() -> None:
    def measured_on(device: str, dtype: str = "bfloat16") -> Observation:
        observation = on(report_records.flux("flux"), device, dtype)
        environment = observation.run.environment
        state = environment.state | {"matmul_bfloat16_flops_per_s": 2e14}
        environment = msgspec.structs.replace(environment, state=state)
        return msgspec.structs.replace(
            observation, run=msgspec.structs.replace(observation.run, environment=environment)
        )

    efficiency = efficiency_of(measured_on("Some GPU"))
    assert efficiency is not None
    assert efficiency.peak_rel["denoise"] == pytest.approx(efficiency.flops_per_s["denoise"] / 2e14)
    assert rate_text(efficiency, "denoise").endswith(" of a measured matmul")
    assert (efficiency.peak, efficiency.peak_flops_per_s) == ("measured", 2e14)
    # a published peak wins, and another dtype's product says nothing
    published = efficiency_of(measured_on("NVIDIA H100 80GB HBM3"))
    assert published is not None
    assert (published.peak, published.peak_flops_per_s) == ("published", 989.4e12)
    other = efficiency_of(measured_on("Some GPU", "float32"))
    assert other is not None
    assert (other.peak_rel, other.peak) == ({}, None)


def test_products_possibly_rounded_have_no_published_peak() -> None:
    observation = msgspec.structs.replace(
        report_records.flux("flux"),
        case=msgspec.structs.replace(
            report_records.flux("flux").case,
            definition=msgspec.structs.replace(report_records.flux("flux").case.definition, dtype="float32"),
        ),
    )
    environment = observation.run.environment

    def shares(precision: str) -> bool:
        settings = environment.settings | {"float32_matmul_precision": precision}
        changed = msgspec.structs.replace(environment, settings=settings)
        efficiency = efficiency_of(
            msgspec.structs.replace(observation, run=msgspec.structs.replace(observation.run, environment=changed))
        )
        assert efficiency is not None
        return bool(efficiency.peak_rel)

    assert [shares(precision) for precision in ("highest", "cuda ieee, mkldnn tf32", "high", "cuda tf32")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(("operator", "has_share"), [("mm", True), ("_scaled_mm", False), ("_int_mm", False)])
def test_products_of_8_bits_have_no_published_peak(operator: str, has_share: bool) -> None:
    observation = on(report_records.flux("flux"), "NVIDIA H100 80GB HBM3")
    assert observation.work is not None
    work = msgspec.structs.replace(
        observation.work, flops={"transformer": 10**18}, operators={"transformer": {operator: 8}}
    )
    efficiency = efficiency_of(msgspec.structs.replace(observation, work=work))
    assert efficiency is not None
    assert bool(efficiency.peak_rel) == has_share
    assert rate_text(efficiency, "denoise").endswith("(impossible)") == has_share


def test_a_share_above_the_peak_is_reported_as_impossible() -> None:
    observation = report_records.flux("flux")
    assert observation.work is not None
    work = msgspec.structs.replace(observation.work, flops={"transformer": 10**18})
    efficiency = efficiency_of(on(msgspec.structs.replace(observation, work=work), "NVIDIA L4"))
    assert efficiency is not None
    assert efficiency.peak_rel["denoise"] > 1
    assert rate_text(efficiency, "denoise").endswith("of peak (impossible)")


def test_energy_comes_from_the_rounds_with_a_reading() -> None:
    observation = report_records.flux("flux")
    energies = (900.0, None, 1000.0)
    rounds = tuple(
        msgspec.structs.replace(timed, telemetry=None if energy is None else Telemetry(energy_j=energy))
        for timed, energy in zip(observation.run.rounds, energies, strict=True)
    )
    efficiency = efficiency_of(
        msgspec.structs.replace(observation, run=msgspec.structs.replace(observation.run, rounds=rounds))
    )
    assert efficiency is not None
    assert efficiency.energy_per_image_j == 950.0


def test_a_case_without_rounds_or_work_has_no_figures() -> None:
    observation = report_records.flux("flux")
    none = msgspec.structs.replace(observation, run=msgspec.structs.replace(observation.run, rounds=()))
    assert efficiency_of(none) is None
    efficiency = efficiency_of(msgspec.structs.replace(observation, work=None, output=None))
    assert efficiency is not None
    assert (efficiency.flops_per_s, efficiency.images_per_s, efficiency.energy_per_image_j) == ({}, None, None)


def test_every_peak_is_matched_by_name_and_no_two_share_a_name() -> None:
    names = [name for peak in PEAKS.values() for name in (peak.name, *peak.reported)]
    assert len(names) == len(set(names))
    assert all(peak_reported(peak.name) is peak for peak in PEAKS.values())
