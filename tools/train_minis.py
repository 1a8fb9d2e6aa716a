"""Trains the miniature pipelines and writes their weights into the package. `tools/README.md` says how and how long.

    python tools/train_minis.py vae
    python tools/train_minis.py lumina2
    python tools/train_minis.py neta-lumina
    python tools/train_minis.py flux
    python tools/train_minis.py flux-distilled
    python tools/train_minis.py wan-vae
    python tools/train_minis.py wan
    python tools/train_minis.py export

Each stage goes on where it was stopped. Later ones read the weights that earlier ones have left in the folder.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parent.parent
_STAGES = (
    "vae",
    "decoder",
    "lumina2",
    "neta-lumina",
    "flux",
    "flux-distilled",
    "wan-vae",
    "wan",
    "export",
)
_DEFAULT_MINUTES = {
    "vae": 25.0,
    "decoder": 15.0,
    "lumina2": 90.0,
    "neta-lumina": 30.0,
    "flux": 75.0,
    "flux-distilled": 25.0,
    "wan-vae": 25.0,
    "wan": 40.0,
}


def main(arguments: list[str] | None = None) -> int:
    """Run a stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("stage", choices=_STAGES)
    parser.add_argument("--folder", type=Path, default=_REPOSITORY / ".minis", help="for checkpoints and sheets")
    parser.add_argument(
        "--package",
        type=Path,
        default=_REPOSITORY / "pytest_diffbench" / "pipelines" / "trained",
        help="where export writes to",
    )
    parser.add_argument("--steps", type=int, help="of the whole schedule; each stage has its own default")
    parser.add_argument("--minutes", type=float, help="after which this run stops, to be resumed; see the README")
    parser.add_argument("--batch", type=int, help="pictures a step")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="torch's threads")
    parser.add_argument(
        "--from-package",
        action="store_true",
        help="train the package's weights further, where the folder has no checkpoint of the stage",
    )
    parser.add_argument("--compile", action="store_true", help="compile the denoiser's layers: needs a C++ compiler")
    options = parser.parse_args(arguments)

    sys.path[:0] = [str(_REPOSITORY), str(_REPOSITORY / "tools")]
    import torch

    torch.set_num_threads(options.threads)
    if options.stage != "export":
        options.minutes = options.minutes or _DEFAULT_MINUTES[options.stage]
    from minis import stages

    stage: Any = getattr(stages, options.stage.replace("-", "_"))
    stage(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
