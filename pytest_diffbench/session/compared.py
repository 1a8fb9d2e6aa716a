"""What a test gets back from `diffbench.compare(...)` and `diffbench.sweep(...)`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import MeasureError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_diffbench.records import Comparison, Fact, ImageDifference, Speedup, Stage, VariantReport
    from pytest_diffbench.session.result import Result


@dataclasses.dataclass(frozen=True, slots=True)
class ComparedVariant:
    """A variant beside the reference.

    Speed-ups are ratios, time of the reference over time of the variant: 1.33 is faster, and saves a quarter. A part
    that wasn't seen raises MeasureError when it is asked for; `report` holds the same with None.
    """

    report: VariantReport
    result: Result

    @property
    def name(self) -> str:
        """Of the variant."""
        return self.report.name

    @property
    def value(self) -> Fact:
        """Of the argument that a sweep changes."""
        return self.report.value

    @property
    def speedup_rel(self) -> Speedup:
        """Of the total: `value`, and the interval `low` to `high`."""
        measured: Speedup = self._required("speedup_rel")
        return measured

    @property
    def stage_speedups_rel(self) -> dict[Stage, Speedup]:
        """Of each stage that both have: `stage_speedups_rel["denoise"].value`."""
        return self.report.stage_speedups_rel

    @property
    def denoiser_calls(self) -> int:
        """Of one call."""
        measured: int = self._required("denoiser_calls")
        return measured

    @property
    def work_saved_rel(self) -> float:
        """Share of the reference's denoiser calls that this variant does without."""
        measured: float = self._required("work_saved_rel")
        return measured

    @property
    def flops_saved_rel(self) -> float:
        """The same of the denoiser's FLOPs."""
        measured: float = self._required("flops_saved_rel")
        return measured

    @property
    def predicted_speedup_rel(self) -> float:
        """What the denoiser work that is saved predicts: T / (T - D s), from the reference's measured times."""
        measured: float = self._required("predicted_speedup_rel")
        return measured

    @property
    def agrees_with_prediction(self) -> bool:
        """Whether the prediction lies inside the interval of `speedup_rel`."""
        measured: bool = self._required("agrees_with_prediction")
        return measured

    @property
    def image_difference(self) -> ImageDifference:
        """How far the images are from the reference's: `psnr_db`, `ssim`, `worst`, `latents_rel`, `problem`."""
        measured: ImageDifference = self._required("image_difference")
        return measured

    @property
    def inert(self) -> bool:
        """Whether what this variant changes saved neither work nor operators, and changed no bit of the output."""
        seen: bool = self._required("inert")
        return seen

    @property
    def dominated_by(self) -> tuple[str, ...]:
        """Names of variants that are faster and more alike to the reference."""
        return self.report.dominated_by

    def _required(self, what: str) -> Any:
        measured = getattr(self.report, what)
        if measured is None:
            why = "; ".join(self.result.observation.notes) or "the target doesn't expose it"
            raise MeasureError(f"{self.report.case_id}: no {what} was observed: {why}.")
        return measured


@dataclasses.dataclass(frozen=True, slots=True)
class Compared:
    """Variants beside their reference; `compared["half"]` is one of them.

    Attributes:
        comparison: all figures, as one record.
        results: what was measured of each variant, by name.
    """

    comparison: Comparison
    results: dict[str, Result]

    @property
    def reference(self) -> str:
        """Name of the variant that the others are compared with."""
        return self.comparison.reference

    @property
    def confidence(self) -> float:
        """Of every interval."""
        return self.comparison.confidence

    @property
    def blocks(self) -> int:
        """Rounds of each variant."""
        return self.comparison.blocks

    @property
    def names(self) -> tuple[str, ...]:
        """Of all variants, the reference among them, in the test's order."""
        return tuple(self.results)

    def __getitem__(self, name: str) -> ComparedVariant:
        for report in self.comparison.variants:
            if report.name == name:
                return ComparedVariant(report, self.results[name])
        hint = did_you_mean(str(name), self.results)
        raise MeasureError(f"{self.comparison.id} has no variant {name!r}{hint}. It has: {', '.join(self.results)}.")

    def __iter__(self) -> Iterator[ComparedVariant]:
        return (self[name] for name in self.results)

    def __len__(self) -> int:
        return len(self.results)


@dataclasses.dataclass(frozen=True, slots=True)
class Swept(Compared):
    """The values of one argument beside each other."""

    @property
    def rows(self) -> tuple[ComparedVariant, ...]:
        """One a value, in the test's order."""
        return tuple(self)

    @property
    def frontier(self) -> tuple[ComparedVariant, ...]:
        """The rows that no other one beats in time and in likeness at once."""
        return tuple(row for row in self if not row.dominated_by)
