"""`diffbench plan`: what a call of a full-size pipeline computes, found out without weights and without a GPU."""

from __future__ import annotations

import ast
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_diffbench.commands.parser import checked
from pytest_diffbench.errors import DiffbenchError, OptionError
from pytest_diffbench.pipelines.registry import MODELS, model_named
from pytest_diffbench.settings.values import whole

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from pytest_diffbench.records import PipelinePlan

PROMPT = "a large red circle on a blue background"
"""Unless told otherwise: the prompt of the ready-made benchmarks."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "source",
        metavar="MODEL|FOLDER",
        help="name of a model (see diffbench models), or a folder written by save_pretrained",
    )
    parser.add_argument("--height", type=checked(whole(1)), metavar="PX", help="height of the image")
    parser.add_argument("--width", type=checked(whole(1)), metavar="PX", help="width of the image")
    parser.add_argument("--steps", type=checked(whole(1)), metavar="N", help="num_inference_steps")
    parser.add_argument("--prompt", default=PROMPT, metavar="TEXT", help=f"prompt (default: {PROMPT!r})")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another argument of the call, such as cfg_trunc_ratio=0.5; can be repeated",
    )
    parser.add_argument(
        "--dtype", default="bfloat16", metavar="DTYPE", help="dtype of the weights (default: bfloat16)"
    )
    parser.add_argument(
        "--device", metavar="NAME", help="device to derive the shortest possible times for, such as 'NVIDIA H100'"
    )
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def plan(arguments: argparse.Namespace) -> PipelinePlan:
    """Plan what the command line asks for.

    Raises:
        DiffbenchError: something in it can't be used, or the pipeline can't be planned.
    """
    given = call_arguments(arguments.set)
    named = {"height": arguments.height, "width": arguments.width, "num_inference_steps": arguments.steps}
    for name, value in named.items():
        if value is not None and name in given:
            raise OptionError(
                f"{name} is given twice, as {value} and with --set {name}={given[name]!r}. Leave one out."
            )
        if value is not None:
            given[name] = value
        if isinstance(given.get(name), int) and given[name] < 1:
            raise OptionError(f"{name}={given[name]}: give at least 1.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' own remarks about versions to come
        return _planned(arguments.source, {"prompt": arguments.prompt} | given, arguments.dtype, arguments.device)


def call_arguments(settings: Sequence[str]) -> dict[str, Any]:
    """Read `NAME=VALUE` settings; a value is a Python literal where it is one, a text else.

    Raises:
        OptionError: one without a name or without `=`.
    """
    arguments: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.isidentifier():
            raise OptionError(f"--set {setting!r} isn't NAME=VALUE, such as --set cfg_trunc_ratio=0.5.")
        try:
            arguments[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            arguments[name] = {"true": True, "false": False, "none": None}.get(text.lower(), text)
    return arguments


def _planned(source: str, given: dict[str, Any], dtype_name: str, device: str | None) -> PipelinePlan:
    from pytest_diffbench.records.peaks import peak_named

    if device is not None:
        peak_named(device)  # before anything is built
    if source not in MODELS and not Path(source).exists() and ("/" in source or source.startswith(".")):
        raise OptionError(f"{source}: there is no such folder. Name a folder written by save_pretrained, or a model.")
    from pytest_diffbench.pipelines.dtypes import parse_dtype

    dtype = parse_dtype(dtype_name)
    _quiet()
    from pytest_diffbench.measure import definition
    from pytest_diffbench.plan.record import plan_of

    notes: tuple[str, ...] = ()
    if source in MODELS or not Path(source).exists():
        from pytest_diffbench.pipelines.full_size import build_full_size

        model = model_named(source)
        pipeline = build_full_size(model, dtype)
        takes = definition.parameters_of(pipeline)
        given = given | {
            name: value for name, value in model.recommended.items() if name in takes and name not in given
        }
    else:
        from pytest_diffbench.pipelines.unloaded import pipeline_in

        pipeline, notes = pipeline_in(Path(source), dtype)
    pipeline.set_progress_bar_config(disable=True)
    try:
        return plan_of(
            pipeline, given, source=source, dtype=str(dtype).removeprefix("torch."), device=device, notes=notes
        )
    except DiffbenchError:
        raise
    except (ArithmeticError, ValueError, TypeError, RuntimeError) as error:
        # What the pipeline says of its arguments is for the person who gave them.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DiffbenchError(
            f"{source}: {definition.name_of(pipeline)} refused the call: {reason.rstrip('.')}. "
            "Change --set, --height or --width."
        ) from error


def _quiet() -> None:
    """Keep the libraries' remarks about what isn't installed out of the output. They read this when imported."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
