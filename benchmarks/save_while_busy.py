"""Whether the documentation's examples can be saved on a busy machine: all but their times, with exit status 0.

    python benchmarks/save_while_busy.py [--loops 2]

Runs `pytest --diffbench-save` on the examples of docs/writing-benchmarks.md in a folder of its own, with the
defaults, beside so many loops that keep a core busy each. Exits with 1 where pytest fails, or a case isn't saved.
"""

from __future__ import annotations

import argparse
import collections
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pytest_diffbench.report import session_json
from pytest_diffbench.report.sentences.saving import saved_text

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Save, and count what was saved and what was left out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--loops", type=int, default=2, help="processes that keep a core busy, 2 by default")
    options = parser.parse_args()
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.loops)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            for path in sorted((ROOT / "docs" / "examples").glob("*.py")):
                shutil.copy(path, folder)
            began_s = time.monotonic()
            command = [sys.executable, "-m", "pytest", "-q", "--diffbench-save", "--diffbench-json=session.json"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            took_s = time.monotonic() - began_s
            cases = session_json.load(Path(folder, "session.json")).cases
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    saved = collections.Counter(str(saved_text(case.saved)) for case in cases)
    untimed = sum(case.times_left_out is not None for case in cases)
    print(
        f"exit status {done.returncode}, {len(cases)} cases in {took_s:.0f} s: {dict(saved)}, {untimed} without times"
    )
    for case in cases:
        if case.times_left_out is not None:
            print(f"  {case.observation.case.id}: {case.times_left_out}")
    unsaved = len(cases) - saved["created"]
    if done.returncode or unsaved:
        print(done.stdout[-4000:])
    return int(done.returncode != 0 or unsaved > 0)


if __name__ == "__main__":
    sys.exit(main())
