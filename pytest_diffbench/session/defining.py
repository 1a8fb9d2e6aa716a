"""What makes a call the case that it is: definition, threads, and the file of its trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_diffbench.errors import MeasureError

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from pytest_diffbench.records import Definition
    from pytest_diffbench.session.loading import Loaded
    from pytest_diffbench.settings.options import Settings


def definition_of(
    target: Any, loaded: Loaded | None, arguments: dict[str, Any], settings: Settings
) -> tuple[str, Definition]:
    """The device of a call, and its definition.

    Args:
        target: what is called.
        loaded: what is known of a pipeline that the plugin loaded; None of others.
        arguments: of the call, as plain JSON.
        settings: of the test.
    """
    from pytest_diffbench.measure.definition import name_of
    from pytest_diffbench.pipelines.devices import device_of
    from pytest_diffbench.pipelines.loader import resolve_device
    from pytest_diffbench.records import Definition

    if loaded is not None:
        spec = loaded.spec
        return spec.device, Definition(
            pipeline=name_of(target),
            weights=spec.weights,
            model=spec.model,
            revision=loaded.revision,
            dtype=spec.dtype,
            offload=spec.offload,
            tuning=loaded.tuning,
            seed=settings.seed,
            arguments=arguments,
        )
    dtype = getattr(target, "dtype", None)
    return device_of(target) or resolve_device(settings.device), Definition(
        pipeline=name_of(target),
        weights="own",
        dtype=str(dtype or "unknown").removeprefix("torch."),
        seed=settings.seed,
        arguments=arguments,
    )


def threads_of(device: str, definition: Definition, settings: Settings) -> int | None:
    """Threads of torch to measure with; None leaves them as they are."""
    if settings.threads is None and definition.weights == "mini" and device == "cpu":
        # The layers of a mini are so small that threads mostly wait for each other, for ages where cores are
        # shared; and with one thread the sums have one order, on every machine.
        return 1
    return settings.threads


def trace_file(config: pytest.Config, profile: str | None, identity: str, definition: Definition) -> Path | None:
    """Where a case's Chrome trace is written, in a folder that is made; None where none is wanted.

    Raises:
        MeasureError: there can be no such folder.
    """
    if profile is None:
        return None
    from pytest_diffbench.records import Case
    from pytest_diffbench.settings.options import flag, folder
    from pytest_diffbench.store.names import case_folder

    where = folder(config, profile)
    try:
        where.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MeasureError(
            f"{flag('profile')}: {where} can't be created as a folder ({error.strerror or error}). Name another "
            "folder."
        ) from None
    return where / f"{case_folder(Case(id=identity, definition=definition))}.json.gz"
