"""The time gate: as fast as the baseline, beyond what the spread between runs and the machine itself explain?

Evidence is counted in runs (processes), never in rounds: rounds of one process share clocks, heat and luck.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import TYPE_CHECKING, Any

from pytest_diffbench.judge.definition import environment_changes
from pytest_diffbench.judge.places import carriers
from pytest_diffbench.judge.reasons import verdict
from pytest_diffbench.judge.statistics import Prediction, drift_rel, interquartile_rel, predict
from pytest_diffbench.judge.text import percent, plural, seconds

if TYPE_CHECKING:
    from pytest_diffbench.judge.limits import Limits
    from pytest_diffbench.judge.question import Question
    from pytest_diffbench.records import Run, Verdict


def judge_time(question: Question) -> Verdict:
    """Compare this run's median with the baseline's runs."""
    now, reference, limits = question.observation.run, question.baseline, question.limits
    newest = reference.baseline.runs[-1]
    if reference.distance != "machine":
        message = f"Time is compared on one class of machine only; the baseline is of {newest.environment.machine}."
        return verdict("time.other_machine", message)
    if not _valid(now):
        return verdict(*_INVALID)
    comparable = [r for r in reference.baseline.runs if environment_changes(r.environment, now.environment) is None]
    if not comparable:
        kind, facts = environment_changes(newest.environment, now.environment) or ("settings", "")
        what = "hardware differs" if kind == "hardware" else "settings differ"
        return verdict(f"time.{kind}", f"The {what} from the baseline's, so times can't be compared: {facts}.")
    runs = _alike([run for run in comparable if _valid(run) and not _parallel(run)], limits)
    evidence = _Evidence(now, runs, limits)
    details = evidence.details()
    left_out = len(reference.baseline.runs) - len(runs)
    why = "measured in parallel, with other settings, or on a machine off its usual pace"
    notes = [f"{plural(left_out, 'run')} of the baseline left out: {why}"] if left_out else []
    places = carriers(question, runs) if runs else []
    doubt = doubts(now, limits)
    if doubt is not None:
        reason, message = doubt
        return verdict(reason, message + evidence.aside(), details=details, changes=[*places, *notes])
    if len(runs) < limits.time_min_runs:
        missing = limits.time_min_runs - len(runs)
        message = (
            f"{plural(len(runs), 'run')} in the baseline, {plural(missing, 'more run')} needed to know their spread."
            f"{evidence.aside()}"
        )
        return verdict("time.few_runs", message, details=details, changes=[*places, *notes])
    return evidence.decide(details, places, notes)


def doubts(run: Run, limits: Limits) -> tuple[str, str] | None:
    """Tell why a run's time can't be trusted, whatever it is compared with.

    Returns:
        A reason code and a message; None when nothing speaks against the run.
    """
    if not _valid(run):
        return _INVALID
    if _parallel(run):
        workers = run.environment.state["xdist_workers"]
        return "time.parallel", f"{workers} test processes ran at once and slowed each other down."
    times_s = run.totals_s
    spread, drift = interquartile_rel(times_s), drift_rel(times_s)
    # Below the practical floor a spread is the interpreter's, however large its share of a tiny call.
    floor_rel = limits.time_floor_s / run.median_s
    if spread is not None and spread > max(limits.unsteady_rel, floor_rel):
        message = (
            f"The rounds never were steady: interquartile range {100 * spread:.0f} % of the median,"
            f" {100 * limits.unsteady_rel:g} % allowed."
        )
        return "time.unsteady", message
    if drift is not None and abs(math.log1p(drift)) > math.log1p(max(limits.drift_rel, floor_rel)):
        message = (
            f"The rounds drifted by {percent(drift)} from the first third to the last,"
            f" {100 * limits.drift_rel:g} % allowed."
        )
        return "time.unsteady", message
    unattributed_s = run.stage_medians_s.get("unattributed")
    if unattributed_s is not None and len(run.stage_medians_s) > 1:
        allowed_s = max(limits.unattributed_rel * run.median_s, limits.unattributed_floor_s)
        if unattributed_s > allowed_s:
            message = (
                f"{seconds(unattributed_s)} of {seconds(run.median_s)} lie outside all stages,"
                f" {seconds(allowed_s)} allowed."
            )
            return "time.unattributed", message
    return None


_INVALID = ("time.invalid", "A round's time is missing, zero, negative or not finite.")


def _valid(run: Run) -> bool:
    """Whether a run has rounds, all of them with a finite time above 0."""
    return bool(run.rounds) and all(math.isfinite(total_s) and total_s > 0 for total_s in run.totals_s)


def _parallel(run: Run) -> bool:
    workers = run.environment.state.get("xdist_workers")
    return isinstance(workers, int) and workers > 1


def _calibration_s(run: Run) -> float | None:
    """Median time of the fixed work, None where it wasn't timed or isn't a time."""
    times_s = run.calibration_s
    if not times_s or not all(math.isfinite(one) and one > 0 for one in times_s):
        return None
    return statistics.median(times_s)


def _alike(runs: list[Run], limits: Limits) -> list[Run]:
    """Leave out past runs that the machine's pace sets apart, by the rule that a new run has to pass too.

    The choice looks at the calibration only, never at the case's own times, so it doesn't flatter their spread.
    """
    paces_s = [pace_s for run in runs if (pace_s := _calibration_s(run)) is not None]
    if not paces_s:
        return runs
    usual_s = statistics.median(paces_s)
    return [run for run in runs if (pace_s := _calibration_s(run)) is None or not _off(pace_s / usual_s, limits)]


def _off(machine_ratio: float, limits: Limits) -> bool:
    """Whether a machine's pace moved by more than the limit, either way."""
    return abs(math.log(machine_ratio)) > math.log1p(limits.machine_rel)


@dataclasses.dataclass(frozen=True, slots=True)
class _Evidence:
    """A new run and the past runs that it may be held against."""

    now: Run
    runs: list[Run]
    limits: Limits

    @property
    def _on_cpu(self) -> bool:
        return self.now.environment.family == "cpu"

    @property
    def _floor_rel(self) -> float:
        return self.limits.time_floor_cpu_rel if self._on_cpu else self.limits.time_floor_rel

    @property
    def _base_s(self) -> float:
        """Geometric mean of the past runs' medians."""
        return statistics.geometric_mean(run.median_s for run in self.runs)

    @property
    def _log_ratio(self) -> float:
        return math.log(self.now.median_s / self._base_s)

    def _predict(self, logs: list[float]) -> Prediction:
        prior_rel = self.limits.time_spread_cpu_rel if self._on_cpu else self.limits.time_spread_rel
        return predict(logs, prior_rel, self.limits.time_alpha)

    def _beyond(self, log_ratio: float, prediction: Prediction) -> int:
        """1 for slower beyond chance and beyond the practical floor, -1 for faster, 0 for neither."""
        floor_rel = max(self._floor_rel, self.limits.time_floor_s / self._base_s)
        needed_log = max(prediction.half_width_log, math.log1p(floor_rel))
        return 0 if abs(log_ratio) <= needed_log else 1 if log_ratio > 0 else -1

    def _calibrated(self) -> tuple[float, list[tuple[float, float]]] | None:
        """This run's calibration, and time and calibration of each past run that has one; None when too few have."""
        mine_s = _calibration_s(self.now)
        past = [(run.median_s, calibration_s) for run in self.runs if (calibration_s := _calibration_s(run))]
        return None if mine_s is None or len(past) < self.limits.time_min_runs else (mine_s, past)

    def details(self) -> dict[str, Any]:
        """Figures that are known before anything is decided."""
        figures: dict[str, Any] = {
            "runs": len(self.runs),
            "runs_needed": self.limits.time_min_runs,
            "rounds": len(self.now.rounds),
            "median_s": self.now.median_s,
            "floor_rel": self._floor_rel,
        }
        if self.runs:
            figures["baseline_s"] = self._base_s
            figures["ratio"] = math.exp(self._log_ratio)
            past = [run.stage_medians_s for run in self.runs]
            figures["stage_ratios"] = {
                stage: now_s / past_s
                for stage, now_s in self.now.stage_medians_s.items()
                if all(stage in one for one in past) and (past_s := statistics.median(one[stage] for one in past)) > 0
            }
        return figures

    def aside(self) -> str:
        """The bare figures, for a verdict that rests on something else."""
        if not self.runs:
            return f" Measured: {seconds(self.now.median_s)}."
        return f" For what it is worth: {self._figures()}."

    def _figures(self) -> str:
        return f"{seconds(self._base_s)} -> {seconds(self.now.median_s)} ({percent(math.expm1(self._log_ratio))})"

    def decide(self, figures: dict[str, Any], places: list[str], notes: list[str]) -> Verdict:
        """Judge by the ratio as measured and by the ratio after calibration, which must agree."""
        raw = self._predict([math.log(run.median_s) for run in self.runs])
        way = self._beyond(self._log_ratio, raw)
        details = figures | {
            "spread_rel": raw.spread_log,
            "chance_interval": [math.exp(-raw.half_width_log), math.exp(raw.half_width_log)],
            "ratio_interval": [math.exp(self._log_ratio + s * raw.half_width_log) for s in (-1, 1)],
        }
        floor_rel = max(self._floor_rel, self.limits.time_floor_s / self._base_s)
        seen_rel = raw.detectable_rel(floor_rel, self.limits.time_power)
        # What chance alone would hide: a floor that somebody chose is no blindness.
        chance_rel = raw.detectable_rel(0.0, self.limits.time_power)
        calibrated = self._calibrated()
        if calibrated is None:
            details["detectable_rel"] = seen_rel
            if way:
                message = (
                    f"{self._figures()}, beyond chance, but without a calibration on both sides a slow machine can't"
                    " be told from slow code."
                )
                return verdict("time.no_calibration", message, details=details, changes=[*places, *notes])
            notes = [*notes, "no calibration on both sides: what the machine itself did isn't known"]
            return self._same(raw, seen_rel, chance_rel, details, notes)
        mine_s, past = calibrated
        machine = mine_s / statistics.median(calibration_s for _, calibration_s in past)
        adjusted = self._predict([math.log(total_s / calibration_s) for total_s, calibration_s in past])
        log_adjusted = math.log(self.now.median_s / mine_s) - adjusted.centre_log
        seen_rel = max(seen_rel, adjusted.detectable_rel(floor_rel, self.limits.time_power))
        chance_rel = max(chance_rel, adjusted.detectable_rel(0.0, self.limits.time_power))
        details |= {
            "detectable_rel": seen_rel,
            "machine_ratio": machine,
            "adjusted_ratio": math.exp(log_adjusted),
            "adjusted_chance_interval": [math.exp(-adjusted.half_width_log), math.exp(adjusted.half_width_log)],
        }
        changes = [*places, *notes]
        if _off(machine, self.limits):
            kind = "slower" if machine > 1 else "faster"
            message = (
                f"The machine itself is {kind} than it was: fixed work took {percent(machine - 1)}."
                f" The case: {self._figures()}."
            )
            return verdict(f"time.machine_{kind}", message, details=details, changes=changes)
        adjusted_way = self._beyond(log_adjusted, adjusted)
        after = f"{percent(math.expm1(log_adjusted))} after calibration"
        if way != adjusted_way:
            message = (
                f"{self._figures()}, {after}: only {'the first' if way else 'the second'} is beyond chance and the"
                " practical floor."
            )
            return verdict("time.unconfirmed", message, details=details, changes=changes)
        if way == 0:
            return self._same(raw, seen_rel, chance_rel, details, notes)
        carried = f" Most of it: {places[0]}." if places else ""
        message = (
            f"{'Slower' if way > 0 else 'Faster'}: {self._figures()}, {after}. {plural(raw.runs, 'run')} of the"
            f" baseline explain ±{100 * math.expm1(raw.half_width_log):.2g} %, the floor is"
            f" {100 * floor_rel:.2g} %.{carried}"
        )
        return verdict("time.slower" if way > 0 else "time.faster", message, details=details, changes=changes)

    def _same(
        self, raw: Prediction, seen_rel: float, chance_rel: float, details: dict[str, Any], notes: list[str]
    ) -> Verdict:
        if chance_rel > self.limits.time_blind_rel:
            message = (
                f"Can't tell: {self._figures()}; nothing under {percent(chance_rel)} would have been seen."
                f" {plural(raw.runs, 'run')} in the baseline: save more, on a quiet machine."
            )
            return verdict("time.blind", message, details=details, changes=notes)
        message = (
            f"As fast as {plural(raw.runs, 'run')} of the baseline: {self._figures()};"
            f" would have seen {percent(seen_rel)}."
        )
        return verdict("time.same", message, details=details, changes=notes)
