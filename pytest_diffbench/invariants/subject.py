"""A pipeline whose calls are varied."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from pytest_diffbench.errors import DiffbenchError, MeasureError
from pytest_diffbench.invariants.invariant import Outcome, Undecided, broken, holds, not_applicable, unable
from pytest_diffbench.invariants.observed import Observed, Recorder, batched, distance, jitter
from pytest_diffbench.measure.boundaries import StandIn, observed, put
from pytest_diffbench.measure.components import denoisers_of, modules_of, sites_of
from pytest_diffbench.measure.definition import bind, name_of, parameters_of, resolved_facts
from pytest_diffbench.measure.left_behind import component_states
from pytest_diffbench.measure.state import preserved, seed_everything
from pytest_diffbench.measure.survey import Survey
from pytest_diffbench.records.verification import OutputDistance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_diffbench.invariants.observed import Arrays
    from pytest_diffbench.records import Fact

Elsewhere: TypeAlias = "Callable[[], Arrays]"
"""Makes the same call in another process."""

_SAME_LIMIT_REL = 1e-4
"""Between two calls that compute the very same, in float32."""

_LEAST_LIMIT_REL = 1e-3
"""Another batch, or another length of a text, has kernels of its own, whose sums have another order."""

_SAME_ROUNDINGS = 4
"""Machine epsilons between two calls that compute the same, on devices that add up in whatever order."""

_TIMES_ROUNDING = 32
"""What is further apart than so many times the effect of these is no rounding."""

_TIMES_LIMIT = 4
"""An output that a broken invariant wouldn't move by so many limits can't show it."""


class Subject:
    """A pipeline and the call that all others vary.

    Args:
        pipeline: a pipeline of diffusers, or whatever has its interface.
        arguments: of the call, by name, without a generator.
        seed: of its noise.
        elsewhere: makes the same call in another process, and returns what `Observed.arrays` is here; None where
            nobody does.
        bare: make the call itself alone, for another process.

    Attributes:
        parameters: of the call, by name.
        calls: how many were made.
        sites: places that are observed.
        states_at_first: of the components, before the first call.
        reference: the call itself.
        again: the same once more.
        repeatable: whether both returned the same.
        rounding_rel: how far the output moves when what the denoiser is handed is changed by a few roundings; None
            where there is no denoiser.
        defaults: arguments of the call, with the pipeline's defaults filled in.

    Raises:
        MeasureError: the pipeline doesn't take an argument, or failed at the call.
    """

    def __init__(
        self,
        pipeline: Any,
        arguments: Mapping[str, Any],
        seed: int = 0,
        elsewhere: Elsewhere | None = None,
        *,
        bare: bool = False,
    ) -> None:
        self.pipeline = pipeline
        self.elsewhere = elsewhere
        self.seed = seed
        self.name = name_of(pipeline)
        self.arguments = bind(pipeline, (), arguments)
        self.parameters = parameters_of(pipeline)
        self.calls = 0
        self.defaults = {
            name: parameter.default
            for name, parameter in self.parameters.items()
            if parameter.default is not parameter.empty
        } | self.arguments
        self.sites = tuple(sites_of(pipeline))
        self.states_at_first = component_states(pipeline)
        self._output_type = self._arrays_type()
        self._known: dict[str, Observed] = {}
        try:
            self.reference = self.call()
        except DiffbenchError:
            raise
        except Exception as error:
            raise MeasureError(
                f"{self.name} failed at the call that is to be verified ({first_line(error)}). Give the arguments "
                "that it needs."
            ) from error
        if not self.reference.arrays:
            raise MeasureError(f"{self.name} returned no images, arrays or tensors: there is nothing to verify.")
        self.again = self.repeat() if not bare else self.reference
        self.repeatable = distance(self.reference.arrays, self.again.arrays)[0] <= self.same_limit_rel
        self.rounding_rel = self._rounding() if self.repeatable and not bare else None

    @property
    def same_limit_rel(self) -> float:
        """What may lie between two calls that compute the very same."""
        return max(_SAME_LIMIT_REL, _SAME_ROUNDINGS * self._eps())

    @property
    def limit_rel(self) -> float:
        """What rounding may come to in an output."""
        return max(_LEAST_LIMIT_REL, _TIMES_ROUNDING * (self.rounding_rel or 0.0))

    def facts(self) -> dict[str, Fact]:
        """The plain values among the arguments, defaults included."""
        return resolved_facts(self.pipeline, self.arguments)

    def prompt(self) -> str:
        """The prompt of the call; ends the check where there is none, or several."""
        if "prompt" not in self.parameters:
            not_applicable("no_argument", "prompt")
        prompt = self.arguments.get("prompt")
        if not isinstance(prompt, str):
            not_applicable("needs_prompt")
        return str(prompt)

    def other_prompt(self) -> str:
        """A prompt of another length, of another picture."""
        first = "two small green squares on a white ground, seen from above"
        return first if self.prompt() != first else "a red circle"

    def call(self, *seeds: int, global_seed: int = 0, **changes: Any) -> Observed:
        """Call the pipeline with other arguments.

        Args:
            *seeds: of the noise of each sample; the subject's own alone by default.
            global_seed: of the generators that nobody should draw from.
            **changes: arguments in place of the call's own.
        """
        key = _key(seeds, global_seed, changes)
        if key is not None and key in self._known:
            return self._known[key]
        observed_call = self.repeat(*seeds, global_seed=global_seed, **changes)
        if key is not None:
            self._known[key] = observed_call
        return observed_call

    def handed(self, component: object, method: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        """Positional and named arguments of each call that the pipeline makes of a component's method."""
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        function = getattr(component, method)

        def recorded(*args: Any, **kwargs: Any) -> Any:
            calls.append((args, kwargs))
            return function(*args, **kwargs)

        with contextlib.ExitStack() as undo:
            put(component, method, StandIn(function, recorded), undo)
            self.repeat()
        return calls

    def repeat(self, *seeds: int, global_seed: int = 0, **changes: Any) -> Observed:
        """As `call`, whether or not the same call was made before."""
        import torch

        arguments = self.arguments | changes
        if self._output_type is not None:
            arguments.setdefault("output_type", self._output_type)
        arguments = {name: value for name, value in arguments.items() if value is not LEFT_OUT}
        if "generator" in self.parameters:
            generators = [torch.Generator("cpu").manual_seed(seed) for seed in (seeds or (self.seed,))]
            arguments["generator"] = generators if len(generators) > 1 else generators[0]
        survey = Survey(modules_of(self.pipeline))
        recorder = Recorder(survey)
        self.calls += 1
        with preserved(collect=False), torch.no_grad(), _quiet(self.pipeline):
            seed_everything(self.seed + global_seed)
            with observed(self.sites, recorder):
                output = self.pipeline(**arguments)
        latents = arguments.get("output_type") == "latent"
        return Observed(
            arrays=batched(output, latents=latents),
            calls=tuple(recorder.calls),
            work=survey.work(),
            guidance=survey.guidance(self.name, resolved_facts(self.pipeline, arguments)),
            latents_shape=survey.latents_shape,
        )

    def attempt(self, *seeds: int, **changes: Any) -> Observed:
        """As `call`; a pipeline that refuses these arguments ends the check."""
        try:
            return self.call(*seeds, **changes)
        except Exception as error:
            unable("refused", *changes, message=first_line(error))

    def difference(self, first: Arrays, second: Arrays) -> OutputDistance:
        """How far two outputs are apart."""
        distance_rel, sample = distance(first, second)
        finite = distance_rel if math.isfinite(distance_rel) else None
        return OutputDistance(distance_rel=finite, limit_rel=self.limit_rel, sample=sample)

    def equal(
        self,
        first: Arrays,
        second: Arrays,
        *,
        sensitivity_rel: float | None = None,
        same: bool = False,
        **facts: Any,
    ) -> Outcome:
        """Whether two outputs are equal but for rounding.

        Args:
            first: an output.
            second: the other.
            sensitivity_rel: how far they would be apart if the invariant were broken; where that is too near,
                equality says nothing.
            same: both came of the very same computation: then rounding is no excuse.
            **facts: for the record.
        """
        known = sensitivity_rel if sensitivity_rel is not None and math.isfinite(sensitivity_rel) else None
        gap = msgspec.structs.replace(self.difference(first, second), sensitivity_rel=known)
        if same:
            gap = msgspec.structs.replace(gap, limit_rel=self.same_limit_rel)
        elif not self.repeatable:
            unable("unrepeatable")
        if gap.distance_rel is None or gap.distance_rel > gap.limit_rel:
            return broken(distance=gap, **facts)
        if sensitivity_rel is not None and not sensitivity_rel > _TIMES_LIMIT * gap.limit_rel:
            raise Undecided("unable", "insensitive", distance=gap, **facts)
        return holds(distance=gap, **facts)

    def prompts_differ(self) -> float:
        """How far another prompt moves the output, with the same noise."""
        return distance(self.reference.arrays, self.attempt(prompt=self.other_prompt()).arrays)[0]

    def _eps(self) -> float:
        """Machine epsilon of the coarsest dtype that the denoisers or the VAE compute in."""
        import torch

        dtypes = {
            parameter.dtype
            for module in modules_of(self.pipeline).values()
            for parameter in module.parameters()
            if parameter.dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16)
        }
        return max((float(torch.finfo(dtype).eps) for dtype in dtypes), default=0.0)

    def _arrays_type(self) -> str | None:
        """What to ask for in place of pictures, which are rounded to 256 levels."""
        if "output_type" not in self.parameters or "output_type" in self.arguments:
            return None
        return "np" if self.parameters["output_type"].default in ("pil", "np") else None

    def _rounding(self) -> float | None:
        denoisers = denoisers_of(self.pipeline)
        if not denoisers:
            return None
        with contextlib.ExitStack() as undo:
            for module in denoisers.values():
                hook = module.register_forward_pre_hook(jitter, with_kwargs=True)
                undo.callback(hook.remove)
            jittered = self.repeat()
        found = distance(self.reference.arrays, jittered.arrays)[0]
        return found if math.isfinite(found) else None


class _LeftOut:
    """Stands for an argument that isn't passed."""

    def __repr__(self) -> str:
        return "left out"


LEFT_OUT = _LeftOut()


def _key(seeds: Sequence[int], global_seed: int, changes: Mapping[str, Any]) -> str | None:
    """Names a call that may be remembered; None for one with tensors or functions."""
    plain = (str, int, float, bool, type(None), _LeftOut)
    for value in changes.values():
        elements = value if isinstance(value, list) else [value]
        if not all(isinstance(element, plain) for element in elements):
            return None
    return repr((tuple(seeds), global_seed, sorted(changes.items())))


def first_line(error: BaseException) -> str:
    """What an error says, in one line of at most 200 characters."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:200].rstrip(": ")


@contextlib.contextmanager
def _quiet(pipeline: Any) -> Iterator[None]:
    """No progress bar; what was set is put back."""
    before = getattr(pipeline, "_progress_bar_config", None)
    switch: Callable[..., None] | None = getattr(pipeline, "set_progress_bar_config", None)
    if switch is None:
        yield
        return
    switch(**({**before, "disable": True} if isinstance(before, dict) else {"disable": True}))
    try:
        yield
    finally:
        if before is None:
            with contextlib.suppress(AttributeError):
                del pipeline._progress_bar_config
        else:
            pipeline._progress_bar_config = before
