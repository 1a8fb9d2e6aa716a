"""What reports say of a case beyond its bare records: its status, its images, truncation, names and commands."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from pytest_diffbench.outputs.metrics import METRICS
from pytest_diffbench.records import DECISIONS, Decision, Gate
from pytest_diffbench.records.details import Incomparable, OutputDetails, Unjudged
from pytest_diffbench.report.units import format_percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_diffbench.records import CaseReport, Memory, Verdict

Status: TypeAlias = Literal["error", "refused", "partial", "saved", "measured"] | Decision
"""A case in one word: its verdicts' gravest decision, unless it broke off, was accepted or not, or wasn't judged.

`partial`: all that there is a baseline for passed, and for the rest there is none, as for times of another machine.
"""

STATUSES: tuple[Status, ...] = (
    *("error", "worse", "refused", "unsure", "incomparable", "unbaselined"),
    *("partial", "better", "same", "saved", "measured"),
)
"""From what needs a reader most to what needs one least."""

PASSING: frozenset[Decision] = frozenset({"same", "better"})

_SUITE = "pytest_diffbench/suite/"


def status_of(report: CaseReport) -> Status:
    """The status of a case."""
    if report.error is not None or not report.observation.complete:
        return "error"
    if was_saved(report):
        return "saved"
    statuses: set[Status] = {verdict.decision for verdict in report.verdicts}
    if was_refused(report):
        statuses.add("refused")
    if report.baseline_distance is not None and {"unbaselined"} < statuses <= {"unbaselined", *PASSING}:
        return "partial"
    return next((status for status in STATUSES if status in statuses), "measured")


def was_saved(report: CaseReport) -> bool:
    """Whether this run was accepted into a baseline."""
    return report.saved is not None and not was_refused(report)


def was_refused(report: CaseReport) -> bool:
    """Whether this run was to be saved, and wasn't."""
    return report.saved is not None and report.saved.refused


def attempts_text(report: CaseReport) -> str | None:
    """That a test was run several times; None where it wasn't."""
    return f"{report.attempts} attempts, of which the last counts" if report.attempts > 1 else None


def verdict_of(report: CaseReport, gate: Gate) -> Verdict | None:
    """A gate's verdict, None where it wasn't asked."""
    return next((verdict for verdict in report.verdicts if verdict.gate == gate), None)


def by_gravity(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Verdicts in the order of `DECISIONS`: worse first."""
    return sorted(verdicts, key=lambda verdict: DECISIONS.index(verdict.decision))


def headline_verdicts(report: CaseReport) -> list[Verdict]:
    """Verdicts that a failure tells in full: what got worse, else what is undecided."""
    verdicts = by_gravity(report.verdicts)
    worse = [verdict for verdict in verdicts if verdict.decision == "worse"]
    return worse or [verdict for verdict in verdicts if verdict.decision not in PASSING]


def to_tell(report: CaseReport) -> list[Verdict]:
    """Verdicts that have to be read: all but passing ones, worse first. A case that was saved needs no baseline."""
    failing = [verdict for verdict in report.verdicts if verdict.decision not in PASSING]
    if was_saved(report):
        failing = [verdict for verdict in failing if not verdict.reason.endswith(".no_baseline")]
    return by_gravity(failing)


def grouped(verdicts: Iterable[Verdict]) -> list[tuple[str, Verdict]]:
    """Put verdicts that say the same into one.

    Returns:
        A heading, `time.slower` or `work, memory: no_baseline`, and the verdict to tell under it.
    """
    groups: list[list[Verdict]] = []
    for verdict in verdicts:
        alike = next((group for group in groups if _alike(group[0], verdict)), None)
        if alike is None:
            groups.append([verdict])
        else:
            alike.append(verdict)
    shortest = [min(group, key=lambda verdict: len(verdict.message)) for group in groups]
    return [
        (
            verdict.reason if len(group) == 1 else f"{', '.join(member.gate for member in group)}: {_what(verdict)}",
            verdict,
        )
        for group, verdict in zip(groups, shortest, strict=True)
    ]


def _what(verdict: Verdict) -> str:
    return verdict.reason.partition(".")[2]


def _alike(left: Verdict, right: Verdict) -> bool:
    """Whether two gates say the same, but for what the output gate says of the output itself."""
    if left.decision != right.decision or left.decision in PASSING or _what(left) != _what(right):
        return False
    first, second = (_common(verdict) for verdict in (left, right))
    return first == second and (first is not None or left.message == right.message)


def _common(verdict: Verdict) -> Unjudged | Incomparable | None:
    """Figures that gates may share."""
    match verdict.details:
        case Unjudged() as details:
            return msgspec.structs.replace(details, returned=None, rerun=None)
        case Incomparable() as details:
            return details
    return None


def detectable_text(verdict: Verdict) -> str | None:
    """The smallest slowdown that the time gate would have found, `finds +12 %`; None where it doesn't say."""
    rel = _number(figure_of(verdict, "detectable_rel")) if verdict.gate == "time" else None
    return None if rel is None else f"finds {format_percent(rel, signed=True)}"


def figure_of(verdict: Verdict, name: str) -> Any:
    """A figure behind a verdict; None where it has none of that name."""
    return getattr(verdict.details, name, None)


def is_rough(memory: Memory) -> bool:
    """Whether the figure covers more than the pipeline: the whole process, or its whole life."""
    return memory.source in ("process_rss", "process_lifetime")


def output_details(verdict: Verdict) -> OutputDetails | None:
    """The figures of the output gate; None for another gate, and where nothing was compared."""
    return verdict.details if isinstance(verdict.details, OutputDetails) else None


def image_figures(report: CaseReport) -> dict[str, float] | None:
    """Distance of the images from the baseline's: of each metric in summaries the worst image's, by name.

    Returns:
        Empty where every pixel is equal; None where no images were compared. A PSNR of infinity says that no pixel
        differs.
    """
    verdict = verdict_of(report, "output")
    if verdict is None:
        return None
    if verdict.reason == "output.same_bits":
        return {}
    details = output_details(verdict)
    if details is None or not details.images:
        return None
    figures: dict[str, float] = {}
    for name, metric in METRICS.items():
        measured = [image[name].value for image in details.images if name in image]
        # JSON has no infinity, so a PSNR without any difference is null
        values = [math.inf if value is None and metric.decibels else value for value in measured]
        numbers = [value for value in values if value is not None]
        if metric.in_summary and numbers:
            figures[name] = metric.worst(numbers)
    return figures


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def truncation_ratio(report: CaseReport) -> float | None:
    """The `cfg_trunc_ratio` that the call ran with, its default included; None for pipelines without one."""
    guidance = report.observation.guidance
    return None if guidance is None else _number(guidance.arguments.get("cfg_trunc_ratio"))


def truncation_text(report: CaseReport) -> str | None:
    """Truncation in words: what was asked for, and what counts predict that it saves of the denoiser's time.

    What it saved on the clock is told by `diffbench.compare` and `sweep` alone, with an interval: two cases of a
    session lie minutes apart, in which a machine changes by more than truncation saves.

    Returns:
        `truncation off`, or such as `truncation 0.5 (calls predict 25 %)`; None for pipelines that have none.
    """
    ratio = truncation_ratio(report)
    if ratio is None:
        return None
    if ratio >= 1:
        return "truncation off"
    verdict = verdict_of(report, "guidance")
    predicted_rel = _number(figure_of(verdict, "predicted_saved_calls_rel")) if verdict is not None else None
    predicted = f" (calls predict {format_percent(predicted_rel)})" if predicted_rel is not None else ""
    return f"truncation {ratio:g}{predicted}"


def node_id(case_id: str) -> str:
    """The test that a case belongs to: its id without the label behind the `#`, which a parameter may hold too."""
    head, parameters, _ = case_id.partition("[")
    if "#" in head or not parameters:
        return case_id.partition("#")[0]
    inside, end, _ = case_id.rpartition("]#")
    return inside + "]" if end else case_id


def save_command(node_ids: Iterable[str], command: Sequence[str] = ("pytest",), root: str = "") -> str:
    """The command that accepts what tests measured; the arguments are those of `rerun_command`."""
    return rerun_command(node_ids, command, root, "--diffbench-save")


def rerun_command(
    node_ids: Iterable[str], command: Sequence[str] = ("pytest",), root: str = "", option: str = "--diffbench"
) -> str:
    """The command that measures tests again, quoted for a POSIX shell.

    Tests of the ready-made suite are named by their module, since they may be installed anywhere.

    Args:
        node_ids: of the tests.
        command: what it begins with, options included.
        root: path to the folder that node ids begin at.
        option: that has benchmarks run.
    """
    targets = list(dict.fromkeys(node_ids))
    if targets and all(target.startswith(_SUITE) for target in targets):
        named = [target.partition("::") for target in targets]
        targets = [path.removesuffix(".py").replace("/", ".") + mark + name for path, mark, name in named]
        return shlex.join([*command, option, "--pyargs", *targets])
    return shlex.join([*command, option, *(root + target for target in targets)])
