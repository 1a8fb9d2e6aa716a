"""`diffbench verify`: what is wrong with a pipeline, without any baseline."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_diffbench.commands.parser import checked
from pytest_diffbench.commands.plan import PROMPT, call_arguments
from pytest_diffbench.errors import DiffbenchError, MeasureError, OptionError, did_you_mean
from pytest_diffbench.pipelines.registry import MODELS
from pytest_diffbench.settings.values import seed, whole

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from pytest_diffbench.records import Verification, Weights

_STEPS = 4
"""Enough for each invariant; a step more costs each of some thirty calls."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "source",
        metavar="MODEL|FOLDER",
        help="name of a model (see diffbench models), or a folder written by save_pretrained",
    )
    parser.add_argument(
        "--weights",
        choices=("mini", "random", "pretrained"),
        help="weights of a model (default: mini); a folder has its own",
    )
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="torch device (default: a GPU if any)")
    parser.add_argument(
        "--dtype", default="float32", metavar="DTYPE", help="dtype (default: float32, which tells most)"
    )
    parser.add_argument("--prompt", default=PROMPT, metavar="TEXT", help=f"prompt (default: {PROMPT!r})")
    parser.add_argument(
        "--steps", type=checked(whole(1)), default=_STEPS, metavar="N", help=f"inference steps (default: {_STEPS})"
    )
    parser.add_argument("--seed", type=checked(seed), default=0, metavar="N", help="seed of the noise (default: 0)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another argument of the call, such as height=256; can be repeated",
    )
    parser.add_argument("--only", default="", metavar="LIST", help="codes or families to look at, such as batch,off")
    parser.add_argument(
        "--waive",
        action="append",
        default=[],
        metavar="CODE=REASON",
        help="accept a known fault, and say why; can be repeated",
    )
    parser.add_argument(
        "--one-process", action="store_true", help="don't make the same call in a second process as well"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write what the call returns to FILE (npz) and look at nothing: what the second process does",
    )
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="also say why invariants hold or don't apply")


def verify(arguments: argparse.Namespace, progress: Callable[[str, int, int], None]) -> Verification | None:
    """Verify what the command line asks for; None where only the call was to be made, for another process.

    Raises:
        DiffbenchError: something in it can't be used, or the pipeline fails at the call.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    from pytest_diffbench.invariants import check_codes
    from pytest_diffbench.invariants import verify as verify_pipeline
    from pytest_diffbench.invariants.subject import Subject

    only = [code for part in arguments.only.split(",") if (code := part.strip())]
    check_codes("--only", only, families=True)
    check_codes("--waive", [text.partition("=")[0].strip() for text in arguments.waive], families=False)
    waive = _waived(arguments.waive)
    given = call_arguments(arguments.set)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' own remarks about versions to come
        pipeline, call = _loaded(arguments, given)
        if arguments.output is not None:
            _write(arguments.output, Subject(pipeline, call, arguments.seed, bare=True).reference.arrays)
            return None
        verification = verify_pipeline(
            pipeline,
            call,
            seed=arguments.seed,
            only=only,
            waive=waive,
            progress=progress,
            elsewhere=None if arguments.one_process else functools.partial(_elsewhere, arguments),
        )
    return msgspec.structs.replace(verification, source=arguments.source)


def _waived(given: Sequence[str]) -> dict[str, str]:
    waived: dict[str, str] = {}
    for text in given:
        code, _, reason = text.partition("=")
        if not reason.strip():
            raise OptionError(f'--waive {text!r} has no reason. Write --waive {code}="why it is accepted".')
        waived[code.strip()] = reason.strip()
    return waived


def _loaded(arguments: argparse.Namespace, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The pipeline, and the arguments of its call: recommended ones, and those of the command line."""
    from pytest_diffbench.measure.definition import parameters_of
    from pytest_diffbench.pipelines.dtypes import parse_dtype
    from pytest_diffbench.pipelines.folders import FOLDER_MODEL, model_for
    from pytest_diffbench.pipelines.loader import load, resolve_device
    from pytest_diffbench.records import PipelineSpec

    source = arguments.source
    folder = None if source in MODELS else Path(source)
    if folder is not None and not folder.exists():
        known = ", ".join(sorted(MODELS))
        hint = did_you_mean(source, MODELS)
        raise OptionError(f"{source}: there is no such model or folder{hint}. Models: {known}; or name a folder.")
    if folder is not None and arguments.weights not in (None, "pretrained"):
        raise OptionError(
            f"--weights {arguments.weights}: {source} is a folder, with weights of its own. Leave --weights out."
        )
    model = model_for(FOLDER_MODEL if folder is not None else source, folder)
    weights: Weights = "pretrained" if folder is not None else arguments.weights or "mini"
    spec = PipelineSpec(
        model=model.name,
        weights=weights,
        device=resolve_device(arguments.device),
        dtype=str(parse_dtype(arguments.dtype)).removeprefix("torch."),
    )
    pipeline: Any = load(spec, folder)
    takes = parameters_of(pipeline)
    recommended = model.mini_recommended if weights == "mini" else model.recommended
    usual = dict(recommended) | {"prompt": arguments.prompt, "num_inference_steps": arguments.steps}
    return pipeline, {name: value for name, value in usual.items() if name in takes} | given


def _elsewhere(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the same call in a process of its own."""
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="diffbench-") as folder:
        file = Path(folder) / "output.npz"
        command = [sys.executable, "-m", "pytest_diffbench.commands.main", "verify", arguments.source]
        for name in ("weights", "device", "dtype", "prompt", "steps", "seed"):
            if getattr(arguments, name) is not None:
                command += [f"--{name}={getattr(arguments, name)}"]
        command += [f"--set={setting}" for setting in arguments.set]
        done = subprocess.run([*command, f"--output={file}"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise MeasureError(f"the second process ended with {done.returncode}: {done.stderr.strip()[-200:]}")
        with np.load(file) as stored:
            return {name: stored[name] for name in stored.files}


def _write(file: Path, arrays: Mapping[str, Any]) -> None:
    import numpy as np

    try:
        np.savez(file, **dict(arrays))
    except OSError as error:
        raise DiffbenchError(f"{file}: can't be written: {error.strerror}. Name another file.") from error
