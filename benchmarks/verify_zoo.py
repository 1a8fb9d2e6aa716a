"""What `diffbench verify` finds in diffusers' own pipelines, and the same shown without this package.

    python benchmarks/verify_zoo.py [--only NAME ...]

Verifies every pipeline of tests/full/zoo (tiny, random weights, float32, one thread), prints the answers by class,
then the table of docs/upstream-faults.md. Exits with 1 where a check isn't in tests/full/zoo/upstream_faults.py, or
one that is there wasn't found or can't be shown by hand.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests" / "full" / "zoo"), str(ROOT / "tests" / "helpers")]

import upstream_faults  # noqa: E402 - found by the line above
import zoo_entry  # noqa: E402 - as above
from zoo_table import ENTRIES  # noqa: E402 - as above

from pytest_diffbench.invariants import verify  # noqa: E402 - sorted behind those above

if TYPE_CHECKING:
    from pytest_diffbench.records import Verification


def main() -> int:
    """Verify each class, print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=list(ENTRIES), choices=list(ENTRIES), metavar="NAME")
    names = parser.parse_args().only
    _be_quiet()
    print("| class | calls | time | hold | don't apply | undecided | broken |\n|---|---|---|---|---|---|---|")
    distances: dict[tuple[str, str], float | None] = {}
    verified = []
    for name in names:
        verification = verify(*_subject(name))
        verified.append(verification)
        print(_row(name, verification), flush=True)
        for check in verification.having("broken"):
            distances[name, check.code] = check.distance.distance_rel if check.distance is not None else None
    print(f"\n{len(verified)} classes, median {statistics.median(checked.calls for checked in verified):.0f} calls")
    return _by_hand(names, distances)


def _by_hand(names: list[str], distances: dict[tuple[str, str], float | None]) -> int:
    """The table of faults; the status of the command."""
    known = [fault for fault in upstream_faults.FAULTS if fault.name in names]
    print("\n| class | invariant | what is wrong | by verify | by hand | upstream |\n|---|---|---|---|---|---|")
    unfound = []
    for fault in known:
        key = fault.name, fault.code
        pipeline, arguments = _subject(fault.name)
        arguments = fault.arguments(arguments)
        if key not in distances and fault.without:
            (check,) = verify(pipeline, arguments, only=[fault.code]).having("broken") or (None,)
            if check is not None:
                distances[key] = check.distance.distance_rel if check.distance is not None else None
        shown = fault.show(pipeline, **arguments)
        if key not in distances or not shown > 0:
            unfound.append(f"{fault.name} {fault.code}")
        by_verify = (
            f"{distances[key]:.2g}"
            if distances.get(key) is not None
            else "found"
            if key in distances
            else "not found"
        )
        cells = [f"`{fault.name}`", f"`{fault.code}`", fault.about, by_verify, f"{shown:.2g}", fault.upstream]
        print(f"| {' | '.join(cells)} |")
    unknown = sorted(distances.keys() - {(fault.name, fault.code) for fault in known})
    print(f"\nnot in the table: {unknown or 'none'}; not found, or not shown: {unfound or 'none'}")
    return 1 if unknown or unfound else 0


def _subject(name: str) -> tuple[Any, dict[str, Any]]:
    pipeline = zoo_entry.build(ENTRIES[name])
    return pipeline, zoo_entry.arguments(ENTRIES[name], pipeline)


def _row(name: str, verification: Verification) -> str:
    counts = [len(verification.having(answer)) for answer in ("holds", "not_applicable", "unable")]
    broken = ", ".join(check.code for check in verification.having("broken"))
    cells = [f"`{name}`", str(verification.calls), f"{verification.duration_s:.1f} s", *map(str, counts), broken]
    return f"| {' | '.join(cells)} |"


def _be_quiet() -> None:
    import diffusers
    import torch
    import transformers

    warnings.simplefilter("ignore")
    diffusers.utils.logging.set_verbosity_error()
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # transformers leaves it without annotations
    torch.set_num_threads(1)


if __name__ == "__main__":
    sys.exit(main())
