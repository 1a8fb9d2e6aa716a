"""What templates are filled with: plain structs of texts, charts and addresses. Nothing here is computed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

    from pytest_diffbench.report.figures import Status


@dataclasses.dataclass(frozen=True, slots=True)
class Tile:
    """The part of a picture that differs most, on all sides; its place in pixels."""

    left_px: int
    top_px: int
    width_px: int
    height_px: int
    now: str
    base: str
    heat: str


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """A picture of this run beside the baseline's: addresses, None for what there isn't.

    Attributes:
        same: both are equal to the last bit; `now` stands for both.
        unlike: their sizes differ, so that they can't be laid over each other.
        exact: shown pixel for pixel.
        small: enlarged on the page, so that pixels should stay squares.
        left_out: for want of room.
        thumb_now: small enough to be shown in lists, as is `thumb_base`.
    """

    label: str
    width_px: int
    height_px: int
    now: str | None
    base: str | None
    heat: str | None
    tile: Tile | None
    same: bool
    unlike: bool
    exact: bool
    small: bool
    left_out: bool
    thumb_now: str | None = None
    thumb_base: str | None = None

    @property
    def compared(self) -> bool:
        """Whether the two can be laid over each other."""
        return self.now is not None and self.base is not None and not self.unlike


@dataclasses.dataclass(frozen=True, slots=True)
class Clip:
    """A recording to listen to."""

    label: str
    address: str


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """An image or another part of an output."""

    title: str
    size: str
    kind: str
    pictures: tuple[Picture, ...]
    first: int
    worst: tuple[Picture, ...]
    frames: Markup | None
    clips: tuple[Clip, ...]
    partly: bool
    """Whether only a part of it was kept."""


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """A gate's answer, with what the reason means and what to do."""

    decision: str
    reason: str
    message: str
    changes: tuple[str, ...]
    meaning: str
    remedy: str
    detectable: str


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A row of figures before and now."""

    name: str
    before: str
    now: str
    change: str = ""
    state: str = ""
    """Class of the row: a stage, or what became of it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Limit:
    """A metric beside its limit."""

    name: str
    value: str
    limit: str
    beyond: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Charts:
    """Of a case; None for what it has no figures of."""

    stages: Markup | None = None
    steps: Markup | None = None
    history: Markup | None = None
    divergence: Markup | None = None
    memory: Markup | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A case of a session.

    Attributes:
        slug: names it in the page and in links.
        where: file and class of its test; `name` is the rest of its id.
        status: its gravest decision, or what became of it.
        rank: place of the status from the gravest on.
        facts: model, pipeline, dtype and so on.
        gates: decision of each gate that was asked.
        stages: where something changed, for the filter.
        outcome: why it broke off, was saved or wasn't; `closing` what to do about it, `accept` the command for that.
        command: measures it again.
        session: number of its session.
    """

    slug: str
    case_id: str
    where: str
    name: str
    status: Status
    rank: int
    model: str
    facts: tuple[str, ...]
    gates: tuple[tuple[str, str], ...]
    stages: tuple[str, ...]
    headline: str
    outcome: str
    verdicts: tuple[Verdict, ...]
    passing: tuple[Verdict, ...]
    looks: tuple[Look, ...]
    looks_note: str
    charts: Charts
    figures: tuple[Row, ...]
    stage_rows: tuple[Row, ...]
    memory_rows: tuple[Row, ...]
    limits: tuple[Limit, ...]
    operators: tuple[Row, ...]
    profile: tuple[Row, ...]
    changed_since: tuple[str, ...]
    used: tuple[str, ...]
    arguments: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    baseline: str
    command: str
    closing: str
    accept: str
    session: int
    total: str
    total_s: float
    ratio: float
    psnr_db: float
    order: int = 0
    past: tuple[Past, ...] = ()

    @property
    def fails(self) -> bool:
        """Whether it needs a reader."""
        return self.status in ("error", "worse", "refused")

    @property
    def thumb(self) -> Picture | None:
        """The picture that stands for it."""
        for look in self.looks:
            if look.pictures:
                return look.pictures[look.first]
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class Past:
    """A figure over the sessions of a history: its curve, range, newest value, first day, and newest change."""

    figure: str
    curve: Markup
    span: str
    latest: str
    began: str
    trend: str


@dataclasses.dataclass(frozen=True, slots=True)
class Variant:
    """A row of a comparison's table."""

    name: str
    slug: str
    cells: tuple[str, ...]
    error: str
    thumb: Picture | None
    reference: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """Variants measured against each other."""

    title: str
    about: str
    heads: tuple[str, ...]
    variants: tuple[Variant, ...]
    chart: Markup | None
    remarks: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Session:
    """Where and when cases were measured, and what there is to say of all of them."""

    label: str
    facts: tuple[tuple[str, str], ...]
    notes: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    save: str
    skipped: tuple[tuple[str, str], ...]
    comparisons: tuple[Comparison, ...]
    verifications: tuple[Verification, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Verification:
    """What was found wrong with a pipeline without any baseline."""

    title: str
    about: str
    verdicts: tuple[Verdict, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Gate:
    """How the cases fared at a gate."""

    name: str
    counts: tuple[tuple[str, int], ...]
    chart: Markup


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """All of it. `cases` stand with the gravest first."""

    title: str
    headline: str
    version: str
    finished: str
    counts: tuple[tuple[str, int], ...]
    gates: tuple[Gate, ...]
    sessions: tuple[Session, ...]
    cases: tuple[Case, ...]
    models: tuple[str, ...]
    stages: tuple[str, ...]
