"""A folder of baselines: finding the nearest one for a case, and accepting a new run."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from typing import TYPE_CHECKING

import msgspec

from pytest_diffbench.errors import BaselineError, option
from pytest_diffbench.outputs.pixels import image_digest
from pytest_diffbench.records import MOST_ACCEPTANCES, Baseline, SaveOutcome, baseline_of
from pytest_diffbench.records.artifacts import Reference
from pytest_diffbench.store.arrays import encode_artifacts, file_names, picture_names, read_artifacts
from pytest_diffbench.store.files import BASELINE, locked, write_baseline
from pytest_diffbench.store.names import case_folder
from pytest_diffbench.store.schema import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pytest_diffbench.records import (
        Acceptance,
        Case,
        Distance,
        Environment,
        Observation,
        Origin,
        Ratio,
        Run,
        ToleranceChange,
    )
    from pytest_diffbench.records.artifacts import Artifacts

MOST_RUNS = 20
"""Runs that a baseline keeps; the oldest go first."""

MOST_PEERS = 50
"""Baselines of other cases whose runs are read to learn a machine's spread: more tell little more, and cost time."""


class Store:
    """The baselines under one folder, as `<machine>/<case>/`.

    Args:
        root: needs not exist before the first save.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._families: dict[str, str] = {}

    def find(self, case: Case, environment: Environment) -> Reference | None:
        """The nearest baseline of a case: of this machine, else of one of its family, else of any.

        Of several, one whose name says the same processor or device comes first; then ties go by name.

        Costs one look into each machine's folder, however many cases there are.

        Raises:
            BaselineError: the baseline that was found can't be read or is another case's.
        """
        name = case_folder(case)
        own = self._folder(environment.machine, name)
        baseline = _read(own)
        if baseline is not None:
            return _reference(own, baseline, "machine", case)
        others = [
            machine
            for machine in self._machines()
            if machine != environment.machine and (self.root / machine / name / BASELINE).exists()
        ]
        others.sort(key=lambda machine: not _is_called_alike(machine, environment.machine))
        family = [machine for machine in others if self._family(machine, name) == environment.family]
        if not others:
            return None
        nearest = self.root / (family or others)[0] / name
        return _reference(nearest, _expected(nearest), "family" if family else "any", case)

    def save(
        self,
        observation: Observation,
        artifacts: Artifacts,
        previous: Reference | None,
        unchanged: bool,
        tolerances: Callable[[Sequence[ToleranceChange], str], tuple[ToleranceChange, ...]] | None = None,
        origin: Callable[[Reference | None, int], Origin] | None = None,
        *,
        new_times: bool = False,
        acceptance: Acceptance | None = None,
    ) -> SaveOutcome:
        """Accept a run.

        Where this machine's baseline stands and nothing changed, the run is added to it; its images, trace, work and
        memory stay, so that many small changes can't creep in. Otherwise what was measured becomes a new generation.
        A saver that was overtaken by another one adds its run where definition, work and images are equal to what
        stands now, and starts a new generation where they aren't.

        Args:
            observation: a complete one; without rounds where its times are no evidence.
            artifacts: its images, equal to those whose digests `observation.output` holds, and its trace.
            previous: what `find` gave, and `unchanged` was judged against.
            unchanged: work and output are as in `previous`.
            tolerances: makes of the history of thresholds that stands, and of the time that the run began, the one to
                keep; by default it stays as it is.
            origin: makes of the baseline that stands, and of the generation that is saved, the origin to keep; by
                default it stays as it is.
            new_times: times count from this run on; those before it stay, as history.
            acceptance: what is noted of it in the baseline's history; what it does and the generation are filled in.

        Returns:
            What became of it; never `refused`.

        Raises:
            BaselineError: the observation can't be a baseline, or the folder can't be written; what was there stays.
        """
        folder = self._folder(observation.run.environment.machine, case_folder(observation.case))
        _refuse_unfit(observation, artifacts, folder)
        with locked(self.root):
            current = _read(folder)
            history = current.tolerances if current is not None else ()
            if tolerances is not None:
                history = tolerances(history, observation.run.started)
            if current is None:
                first = origin(None, 1) if origin is not None else None
                outcome = SaveOutcome(what="created")
                accepted = _accepted(observation, 1, history, first, _noted(None, acceptance, outcome, 1))
                _write(folder, accepted, artifacts)
                return outcome
            standing = _reference(folder, current, "machine", observation.case)
            adds = _adds(current, observation, previous, unchanged)
            generation = current.generation + (not adds)
            first = origin(standing, generation) if origin is not None else current.origin
            if adds:
                timed = bool(observation.run.rounds)
                # one without times gives way to one with
                runs = (*current.timed_runs, observation.run)[-MOST_RUNS:] if timed else current.runs
                profile = current.profile or observation.profile  # the first may have been taken without one
                anew = timed and new_times
                ratio = observation.ratio if anew and observation.ratio is not None else _joined(current, observation)
                fresh = baseline_of(observation)
                outcome = (
                    SaveOutcome(what="added", number=len(runs), times_anew=anew)
                    if timed
                    else SaveOutcome(what="kept", why="nothing changed, and there are no times to add")
                )
                grown = msgspec.structs.replace(
                    _with_missing_counts(current, observation),
                    runs=runs,
                    ratio=ratio,
                    profile=profile,
                    probe=current.probe or fresh.probe,
                    guidance=current.guidance or fresh.guidance,
                    tolerances=history,
                    origin=first,
                    times_from=observation.run.id if anew else current.times_from,
                    acceptances=_noted(current, acceptance, outcome, generation),
                )
                _write(folder, grown, None)
                return outcome
            outcome = SaveOutcome(what="new_generation", number=generation)
            notes = _noted(current, acceptance, outcome, generation)
            _write(folder, _accepted(observation, generation, history, first, notes), artifacts)
            return outcome

    def entries(self) -> Iterator[Path]:
        """The folders of all baselines, sorted by machine and case."""
        for machine in self._machines():
            for name in _folders(self.root / machine):
                if (self.root / machine / name / BASELINE).exists():
                    yield self.root / machine / name

    def runs(self, machine: str, most: int) -> dict[str, tuple[Run, ...]]:
        """The runs of baselines of one machine, by case: evenly picked where there are more than `most`.

        Baselines that can't be read are left out: they are told of when their own case is judged.
        """
        names = _folders(self._folder(machine, ""))
        by_case: dict[str, tuple[Run, ...]] = {}
        for name in names if len(names) <= most else [names[i * len(names) // most] for i in range(most)]:
            with contextlib.suppress(BaselineError):
                baseline = _read(self.root / machine / name)
                if baseline is not None:
                    by_case[baseline.case.id] = baseline.times
        return by_case

    def load(self, folder: Path, distance: Distance = "any") -> Reference:
        """Read the baseline in one folder.

        Args:
            folder: one of `entries`.
            distance: what the caller knows of the machine; nothing is known here.

        Raises:
            BaselineError: there is none, or it can't be read.
        """
        baseline = _expected(folder)
        return Reference(baseline, distance, str(folder), functools.partial(read_artifacts, folder, baseline))

    def _machines(self) -> list[str]:
        return _folders(self.root)

    def _family(self, machine: str, case: str) -> str:
        # A machine is of one family, so one of its baselines tells it for all.
        if machine not in self._families:
            newest = _expected(self.root / machine / case).runs[-1]
            self._families[machine] = newest.environment.family
        return self._families[machine]

    def _folder(self, machine: str, case: str) -> Path:
        if not machine or machine.startswith(".") or any(letter in machine for letter in "/\\:\0"):
            problem = f"machine is {machine!r}, which can't name a folder"
            raise BaselineError(self.root, problem, "Letters, digits, dots and dashes can.")
        return self.root / machine / case


def _is_called_alike(left: str, right: str) -> bool:
    """Whether two names of machines differ in nothing but the six digits at the end, which old ones haven't got."""
    left, right = (re.sub(r"-[0-9a-f]{6}$", "", name) for name in (left, right))
    return left == right


def _folders(parent: Path) -> list[str]:
    """Names of the folders in a folder, sorted; none where it doesn't exist."""
    try:
        with os.scandir(parent) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        remedy = f"Give {option('baselines')} a folder of baselines."
        raise BaselineError(parent, f"can't be listed: {error.strerror}", remedy) from error


def _read(folder: Path) -> Baseline | None:
    """The baseline in a folder, None where there is none."""
    path = folder / BASELINE
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BaselineError(path, f"can't be read: {error.strerror}", "Check its permissions.") from error
    return decode(data, path)


def _expected(folder: Path) -> Baseline:
    baseline = _read(folder)
    if baseline is None:
        raise BaselineError(folder, f"holds no {BASELINE}", "Measure and accept one with pytest --diffbench-save.")
    return baseline


def _reference(folder: Path, baseline: Baseline, distance: Distance, case: Case) -> Reference:
    _refuse_other_case(baseline, case, folder)
    return Reference(baseline, distance, str(folder), functools.partial(read_artifacts, folder, baseline))


def _refuse_other_case(baseline: Baseline, case: Case, folder: Path) -> None:
    if baseline.case.id != case.id:
        problem = f"case.id is {baseline.case.id!r}, but the requested case is {case.id!r}"
        raise BaselineError(
            folder / BASELINE, problem, "Baselines can't be renamed; save again with pytest --diffbench-save."
        )


def _refuse_unfit(observation: Observation, artifacts: Artifacts, folder: Path) -> None:
    """Refuse what must never become a baseline."""
    remedy = "Run it again with pytest --diffbench-save when it completes."
    if not observation.complete:
        raise BaselineError(folder, "the measurement isn't complete", remedy)
    output = observation.output
    if output is not None and not output.finite:
        problem = f"the output isn't finite ({output.not_finite_where or 'somewhere'})"
        raise BaselineError(folder, problem, "Fix the pipeline first: NaN and infinity are never a baseline.")
    expected = [image.digest for image in output.images] if output is not None else []
    digests = [image_digest(array) for array in artifacts.images]
    if digests != expected:
        problem = f"the images have digests {digests}, but output.images says {expected}"
        raise BaselineError(folder, problem, "Save the images that were measured.")
    parts = output.parts if output is not None else ()
    recorded = [{name: array.digest for name, array in part.arrays.items()} for part in parts]
    if [{name: image_digest(array) for name, array in part.items()} for part in artifacts.parts] != recorded:
        problem = f"the {len(artifacts.parts)} other parts aren't those {len(parts)} that output.parts says"
        raise BaselineError(folder, problem, "Save what was measured.")


def _adds(current: Baseline, observation: Observation, previous: Reference | None, unchanged: bool) -> bool:
    """Whether a run belongs to the generation that stands."""
    if previous is not None and previous.distance == "machine" and previous.baseline.generation == current.generation:
        return unchanged
    # Somebody saved since this run was judged, and `unchanged` speaks of something else.
    return (
        current.case == observation.case
        and current.work == observation.work
        and (current.output is None) == (observation.output is None)
        and (
            current.output is None
            or observation.output is None
            or (current.output.images, current.output.parts) == (observation.output.images, observation.output.parts)
        )
    )


def _with_missing_counts(current: Baseline, observation: Observation) -> Baseline:
    """Take over what wasn't counted yet when the generation was accepted."""
    work, memory = current.work, current.memory
    if work is not None and observation.work is not None and not work.operators:
        counted = observation.work
        work = msgspec.structs.replace(
            work, operators=counted.operators, python_calls=counted.python_calls, compiled=counted.compiled
        )
    if memory is not None and observation.memory is not None and memory.source == observation.memory.source:
        there = observation.memory.stages
        memory = msgspec.structs.replace(
            memory,
            stages={
                stage: msgspec.structs.replace(stage_memory, workspace_bytes=there[stage].workspace_bytes)
                if stage_memory.workspace_bytes is None and stage in there
                else stage_memory
                for stage, stage_memory in memory.stages.items()
            },
        )
    return msgspec.structs.replace(current, work=work, memory=memory)


def _accepted(
    observation: Observation,
    generation: int,
    tolerances: tuple[ToleranceChange, ...],
    origin: Origin | None,
    acceptances: tuple[Acceptance, ...],
) -> Baseline:
    return baseline_of(
        observation,
        generation=generation,
        tolerances=tolerances,
        ratio=observation.ratio,
        origin=origin,
        acceptances=acceptances,
    )


def _noted(
    current: Baseline | None, acceptance: Acceptance | None, outcome: SaveOutcome, generation: int
) -> tuple[Acceptance, ...]:
    """The history of what was accepted without measuring again, this one included where it is such."""
    before = current.acceptances if current is not None else ()
    if acceptance is None or outcome.what == "refused":
        return before
    note = msgspec.structs.replace(acceptance, what=outcome.what, generation=generation)
    return (*before, note)[-MOST_ACCEPTANCES:]


def _joined(current: Baseline, observation: Observation) -> Ratio | None:
    """The ratios that are kept: those to a reference that is defined otherwise now say nothing of this one."""
    now, kept = observation.ratio, current.ratio
    if now is None or kept is None:
        return now or kept
    if kept.reference != now.reference:
        return now
    return msgspec.structs.replace(now, runs=(*kept.runs, *now.runs)[-MOST_RUNS:])


def _write(folder: Path, baseline: Baseline, artifacts: Artifacts | None) -> None:
    text = encode(baseline, folder / BASELINE)
    files = (
        encode_artifacts(artifacts, baseline.generation, folder, baseline.output) if artifacts is not None else None
    )
    names = (*file_names(baseline), *picture_names(baseline))
    write_baseline(folder, text, baseline.generation, names, files)
