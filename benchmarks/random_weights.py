"""Full-size models with drawn weights: how fast they are made, and whether their values stay sound.

    python benchmarks/random_weights.py [--model lumina2] [--device cpu] [--dtype bfloat16] [--side 256] [--steps 2]
                                        [--layers N [--repeat]]

Makes the model once, calls it once, and prints a Markdown table: seconds to make the weights and, before them, the
components without any; the peak of memory; seconds of the call; and standard deviations: of the predictions and the
latents of the first and the last step, of what tells two branches of a step apart, and of the image. `--layers` keeps
the width and leaves that many layers of each kind, for models that don't fit; with `--repeat` the denoiser goes
through them again and again, up to the model's own number. Exits with 1 where something isn't finite, the image is
constant, or the latents leave 0.1 to 10.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import sys
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_diffbench.pipelines.full_size import Part

PROMPT = "a large red circle on a blue background"
_LAYERS = ("num_layers", "num_single_layers", "num_hidden_layers")


def main() -> int:
    """Make, call, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="lumina2", choices=["lumina2", "neta-lumina", "flux"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--side", type=int, default=256, help="height and width in pixels")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--layers", type=int, help="of each kind; all of them by default")
    parser.add_argument("--repeat", action="store_true", help="those of the denoiser, up to the full number")
    parser.add_argument("--tokens", type=int, help="max_sequence_length; as recommended by default")
    options = parser.parse_args()
    rows, sound = _measured(options)
    print("| what | seen |\n|---|---|")
    for what, row in rows.items():
        print(f"| {what} | {row} |")
    return int(not sound)


def _measured(options: argparse.Namespace) -> tuple[dict[str, str], bool]:
    import torch

    from pytest_diffbench.measure.memory import gauge_for
    from pytest_diffbench.pipelines import random_weights
    from pytest_diffbench.pipelines.dtypes import parse_dtype
    from pytest_diffbench.pipelines.registry import model_named

    model = model_named(options.model)
    filling = _Stopwatch(options.device)
    allocate, fill = random_weights._allocate, random_weights.fill
    random_weights._allocate, random_weights.fill = filling.around(allocate), filling.around(fill)
    begin_s = time.perf_counter()
    pipeline = random_weights.build_random(
        model, parse_dtype(options.dtype), options.device, parts=_parts(options.model, options.layers)
    )
    built_s = time.perf_counter() - begin_s
    pipeline.set_progress_bar_config(disable=True)
    parameters = sum(parameter.numel() for part in _modules(pipeline) for parameter in part.parameters())
    rows = {
        "model": f"{options.model}, {options.dtype}, {options.device}, {torch.get_num_threads()} threads"
        + (f", {options.layers} layers of each kind" if options.layers else ""),
        "parameters": f"{parameters / 1e9:.2f} billion",
        "building all but the weights": f"{built_s - filling.total_s:.1f} s",
        "making the weights": f"{filling.total_s:.1f} s, {parameters / filling.total_s / 1e6:.0f} M parameters/s",
    }
    if options.repeat:
        rows["denoiser's layers"] = _repeated(pipeline.transformer)
    deviations = _Deviations(pipeline)
    gauge = gauge_for(options.device)
    if gauge is None:
        raise SystemExit(f"{options.device}: its allocator keeps no peaks.")
    gauge.reset()
    begin_s = time.perf_counter()
    image = pipeline(
        PROMPT,
        height=options.side,
        width=options.side,
        num_inference_steps=options.steps,
        max_sequence_length=options.tokens or model.recommended["max_sequence_length"],
        generator=torch.Generator("cpu").manual_seed(0),
        output_type="pt",
    ).images.float()
    rows["call"] = f"{time.perf_counter() - begin_s:.1f} s, {options.side} x {options.side} px, {options.steps} steps"
    rows[f"peak memory in the call ({gauge.source})"] = f"{gauge.read()[0] / 2**30:.2f} GiB"
    rows["predictions"] = f"{deviations.predictions[0]:.3f} to {deviations.predictions[-1]:.3f}"
    rows["latents after a step"] = f"{deviations.latents[0]:.3f} to {deviations.latents[-1]:.3f}"
    if deviations.apart:
        rows["conditional less unconditional, of the conditional"] = (
            f"{deviations.apart[0]:.3f} to {deviations.apart[-1]:.3f}"
        )
    rows["image"] = f"{image.std().item():.3f}, of [0, 1]"
    sound = bool(image.isfinite().all()) and image.std().item() > 0.02
    return rows, sound and all(0.1 < deviation < 10 for deviation in (*deviations.predictions, *deviations.latents))


class _Deviations:
    """Standard deviations of what goes through the scheduler, and how far two branches of a step lie apart."""

    def __init__(self, pipeline: Any) -> None:
        self.predictions: list[float] = []
        self.latents: list[float] = []
        self.apart: list[float] = []
        self._branches: list[Any] = []
        pipeline.transformer.register_forward_hook(lambda _module, _args, output: self._branches.append(output[0]))
        step = pipeline.scheduler.step

        def watched(model_output: Any, *args: Any, **kwargs: Any) -> Any:
            result = step(model_output, *args, **kwargs)
            self.predictions.append(model_output.float().std().item())
            self.latents.append(result[0].float().std().item())
            if len(self._branches) == 2:
                conditional, unconditional = (prediction.float() for prediction in self._branches)
                self.apart.append(((conditional - unconditional).std() / conditional.std()).item())
            self._branches.clear()
            return result

        pipeline.scheduler.step = watched


class _Stopwatch:
    """Adds up the time of functions; the device has finished when one is over."""

    def __init__(self, device: str) -> None:
        from pytest_diffbench.measure.clock import clock_for

        self._clock = clock_for(device)
        self.total_s = 0.0

    def around(self, function: Any) -> Any:
        """The function, timed."""

        def timed(*args: Any) -> None:
            begin_s = time.perf_counter()
            function(*args)
            self._clock.synchronize()
            self.total_s += time.perf_counter() - begin_s

        return timed


def _parts(model: str, layers: int | None) -> Mapping[str, Mapping[str, Part]]:
    from importlib import import_module

    from pytest_diffbench.pipelines.full_size import PARTS

    if layers is None:
        return PARTS

    def fewer(part: Part) -> Part:
        if part.class_name == "AutoencoderKL":
            return part
        kind = getattr(import_module(part.library), part.class_name)
        known = vars(kind.config_class()) if part.library == "transformers" else kind._get_init_keys(kind)
        less = {name: layers for name in _LAYERS if name in known}
        return dataclasses.replace(part, config=MappingProxyType({**part.config, **less}))

    return {model: {name: fewer(part) for name, part in PARTS[model].items()}}


def _repeated(denoiser: Any) -> str:
    """Let the layers of each list follow each other up to the number that the class's defaults have."""
    import torch

    whole = {
        "layers": "num_layers",
        "transformer_blocks": "num_layers",
        "single_transformer_blocks": "num_single_layers",
    }
    parameters = inspect.signature(type(denoiser).__init__).parameters
    calls = []
    for name, key in whole.items():
        few = getattr(denoiser, name, None)
        if few is not None:
            count = parameters[key].default
            setattr(denoiser, name, torch.nn.ModuleList(few[i % len(few)] for i in range(count)))
            calls.append(f"{count} {name}")
    return ", ".join(calls)


def _modules(pipeline: Any) -> list[Any]:
    return [part for part in pipeline.components.values() if hasattr(part, "parameters")]


if __name__ == "__main__":
    sys.exit(main())
