"""How variants are compared, and the file that the table of them goes to."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_diffbench.errors import MeasureError
from pytest_diffbench.session.writable import in_the_way_of

if TYPE_CHECKING:
    from os import PathLike

    from pytest_diffbench.records import Comparison
    from pytest_diffbench.report.table import TableFormat


@dataclasses.dataclass(frozen=True, slots=True)
class How:
    """How variants are compared, besides what they are; see `Bench.compare`.

    Raises:
        MeasureError: `publish` has an ending that no table has, or can't be written. Now, not once everything is
            measured.
    """

    label: str | None
    confidence: float
    precision_rel: float
    float64: bool = False
    publish: str | PathLike[str] | None = None
    argument: str | None = None
    probe: bool = False
    prompts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.publish is not None:
            format_of(Path(self.publish))
            if (why := in_the_way_of(Path(self.publish).absolute())) is not None:
                raise MeasureError(_refusal(self.publish, why))


def format_of(path: Path) -> TableFormat:
    """What a file is written as, by its ending.

    Raises:
        MeasureError: there is no such format.
    """
    from pytest_diffbench.report.table import BY_SUFFIX

    how = BY_SUFFIX.get(path.suffix.lower())
    if how is None:
        raise MeasureError(
            f"publish={str(path)!r}: no table has that ending. Name a file that ends in {', '.join(BY_SUFFIX)}."
        )
    return how


def write_table(comparison: Comparison, how: How) -> None:
    """Write the table of a comparison, if that was asked for; its folder is made where it isn't there.

    Raises:
        MeasureError: the file can't be written.
    """
    if how.publish is None:
        return
    from pytest_diffbench.report.table import written

    path = Path(how.publish)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written([comparison], format_of(path)), encoding="utf-8")
    except OSError as error:
        raise MeasureError(_refusal(path, error.strerror or str(error))) from None


def _refusal(path: str | PathLike[str], why: str) -> str:
    return f"publish={str(path)!r} can't be written: {why}. Name another file."
