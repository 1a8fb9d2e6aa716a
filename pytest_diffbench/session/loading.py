"""Which pipeline a test asks for, and the one that is resident for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import OptionError, PipelineError
from pytest_diffbench.pipelines.folders import model_for
from pytest_diffbench.pipelines.loader import default_dtype, parse_dtype, resolve_device
from pytest_diffbench.pipelines.resident import Resident
from pytest_diffbench.pipelines.tuning import check_tuning
from pytest_diffbench.records import PipelineSpec, Tuning, Weights
from pytest_diffbench.settings.options import flag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_diffbench.pipelines.registry import Model
    from pytest_diffbench.records import Fact
    from pytest_diffbench.settings.options import Settings


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded:
    """What is known of a pipeline that was loaded here.

    Attributes:
        spec: what was asked for.
        revision: identity of the weights; a plan has none.
        tuning: what its options came to, see `records.Definition`.
        recommended: call arguments that fill in what a test doesn't give.
    """

    spec: PipelineSpec
    revision: str | None
    tuning: dict[str, Fact]
    recommended: Mapping[str, object]


class Pipelines:
    """Loads pipelines for tests, one at a time.

    Args:
        load: loads what a spec asks for; returns None where it doesn't know how.
        folder: of pretrained models, where one was named.
    """

    def __init__(self, load: Callable[[PipelineSpec], Any], folder: Path | None = None) -> None:
        self._load = load
        self._folder = folder
        self._resident = Resident()
        self._spec: PipelineSpec | None = None
        self._pipeline: Any = None

    def get(self, settings: Settings, where: str) -> Any:
        """The pipeline that a test's settings ask for.

        Raises:
            OptionError: they name no model.
            PipelineError: it can't be had.
        """
        spec = spec_of(settings, where)
        if spec != self._spec:
            self._spec = self._pipeline = None  # or the old one couldn't go
        self._pipeline = self._resident.get(spec, lambda: self._loaded(spec))
        self._spec = spec
        return self._pipeline

    def about(self, target: object) -> Loaded | None:
        """What is known of a target, None where it isn't the resident pipeline."""
        if self._spec is None or target is not self._pipeline:
            return None
        from pytest_diffbench.pipelines.tuned import resolved

        model, weights = model_for(self._spec.model, self._folder), self._spec.weights
        return Loaded(
            spec=self._spec,
            revision=_revision(target, model, weights),
            tuning=resolved(target, self._spec),
            recommended=model.mini_recommended if weights == "mini" else model.recommended,
        )

    def release(self) -> None:
        """Let go of the resident pipeline, and give its memory back."""
        self._spec = self._pipeline = None
        self._resident.release()

    def _loaded(self, spec: PipelineSpec) -> Any:
        pipeline = self._load(spec)
        if pipeline is None:
            raise PipelineError(f"no implementation of pytest_diffbench_load_pipeline knows {spec}.")
        from pytest_diffbench.pipelines.tuned import check_applied

        if spec.tuning != Tuning():
            check_applied(pipeline, spec)
        return pipeline


def _revision(target: Any, model: Model, weights: Weights) -> str | None:
    from pytest_diffbench.pipelines import mini, pretrained, random_weights

    if weights == "pretrained":
        return pretrained.revision(target)
    if weights == "random":
        return random_weights.REVISION
    return mini.revision(model) if weights == "mini" else None  # a plan has none


def check(settings: Settings, where: str) -> None:
    """Find out before anything runs whether model, dtype and device exist.

    Raises:
        PipelineError: naming the test, the value, and what there is.
    """
    try:
        if settings.model is not None:
            model_for(settings.model, _folder(settings))
        if settings.dtype is not None:
            parse_dtype(settings.dtype)
        if settings.weights != "plan":
            resolve_device(settings.device)
        if settings.model is not None:
            check_tuning(spec_of(settings, where))
    except PipelineError as error:
        raise type(error)(f"{where}: {error}") from None


def spec_of(settings: Settings, where: str) -> PipelineSpec:
    """The spec of a test's pipeline. Raises OptionError when its settings name no model."""
    if settings.model is None:
        raise OptionError(
            f"{where} uses diffbench_pipeline, but its marker names no model. "
            "Write @pytest.mark.diffbench(model='lumina2'), or pass a pipeline of your own to diffbench()."
        )
    weights: Weights = settings.weights  # type: ignore[assignment]  # checked when it was parsed
    device = "cpu" if weights == "plan" else resolve_device(settings.device)
    dtype = parse_dtype(settings.dtype or default_dtype(device, weights))
    return PipelineSpec(
        model=model_for(settings.model, _folder(settings)).name,
        weights=weights,
        device=device,
        dtype=str(dtype).removeprefix("torch."),
        offload=settings.offload,  # type: ignore[arg-type]  # checked when it was parsed
        tuning=Tuning(**{name: getattr(settings, name) for name in Tuning.__struct_fields__}),
    )


def grouped(tests: Sequence[Settings]) -> list[int]:
    """The order of tests, by their places, that brings those of one pipeline together, so that it's loaded once."""
    names = ("model", "weights", "device", "dtype", "offload", *Tuning.__struct_fields__)
    specs = [tuple(getattr(settings, name) for name in names) for settings in tests]
    first = {spec: i for i, spec in reversed(list(enumerate(specs)))}
    return sorted(range(len(tests)), key=lambda i: first[specs[i]])


def models_folder(settings: Settings) -> Path | None:
    """Where pretrained pipelines are: a folder, or a single file.

    Raises:
        OptionError: there is nothing of the kind.
    """
    if settings.models is None:
        return None
    folder = Path(settings.models).resolve()
    if folder.suffix == ".safetensors" and folder.is_file():
        return folder  # a single-file checkpoint
    if not folder.is_dir() or not any(folder.iterdir()):
        what = "is empty" if folder.is_dir() else "isn't a folder" if folder.exists() else "doesn't exist"
        raise OptionError(
            f"{flag('models')}: {folder} {what}. Name a folder that holds a pipeline saved with save_pretrained, "
            "or a sub-folder for each model."
        )
    return folder


def _folder(settings: Settings) -> Path | None:
    return Path(settings.models) if settings.models is not None else None
