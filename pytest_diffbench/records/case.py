"""What is measured, and what it ran on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_diffbench.records.base import Compile, Fact, Offload, Record, Weights

if TYPE_CHECKING:
    from collections.abc import Mapping


class Tuning(Record, frozen=True, kw_only=True):
    """How a loaded pipeline is set up to run. The defaults leave it as the library made it."""

    attention: str | None = None
    """Name of diffusers' attention backend."""

    compile: Compile = "none"
    channels_last: bool = False
    vae_tiling: bool = False
    vae_slicing: bool = False
    quantize: str | None = None
    """`<backend>:<type>`, such as `torchao:int8`."""

    lora: str | None = None
    """A file of safetensors."""

    cache: str | None = None
    """A caching hook and its parameters, such as `first-block:threshold=0.1`."""


class PipelineSpec(Record, frozen=True, kw_only=True):
    """Which pipeline to load, and how. Two equal specs are served by one resident pipeline."""

    model: str
    weights: Weights
    device: str
    dtype: str
    offload: Offload = "none"
    tuning: Tuning = Tuning()
    source: str | None = None
    """Folder or hub id for `pretrained` weights; None for those that are built in code."""


class Definition(Record, frozen=True, kw_only=True):
    """All that makes a case what it is. Results of unequal definitions are never compared."""

    pipeline: str
    """Name of the pipeline's class, or of the callable."""

    weights: Weights
    model: str | None = None
    revision: str | None = None
    """Identity of the weights: hub commit, a digest of the folder's configuration, one of a mini's checksums, or the
    number of the recipe that random ones are made by."""

    dtype: str
    offload: Offload = "none"
    tuning: dict[str, Fact] = {}
    """What differs from the pipeline as the library made it, by the options of `Tuning`, as it turned out on the
    loaded pipeline; empty where nothing does."""

    seed: int
    arguments: dict[str, Any]
    """Every argument that the test passed, as plain JSON; a tensor or image stands as shape, dtype and digest."""

    @property
    def planned(self) -> bool:
        """Whether nothing was computed: such a case has work and guided steps, and no rounds."""
        return self.weights == "plan"


class Case(Record, frozen=True, kw_only=True):
    """One benchmarked call: test id and definition."""

    id: str
    definition: Definition


class Environment(Record, frozen=True, kw_only=True):
    """What a run ran on. Units stand in the names of the facts; a fact that couldn't be read is None.

    `hardware` and `settings` decide whether times and memory of two runs may be compared. `software` does not: it is
    listed as changed since the baseline, since a slower library is what the plugin is there to catch. `state` tells
    how busy the machine was.
    """

    machine: str
    """Name of the class of machine, e.g. `cpu-amd-epyc-2c-3f9a1c`; a folder under `baselines/`. The six digits stand
    for all facts in `hardware`."""

    family: str
    """Type of the device: `cpu`, `cuda`, `mps` ..."""

    hardware: dict[str, Fact]
    settings: dict[str, Fact]
    software: dict[str, Fact]
    state: dict[str, Fact]


_TOLD_OR_UNKNOWN = frozenset({"attention_backend"})
"""Facts that say nothing where they are None: it used to depend on earlier imports whether they were recorded."""


def is_changed(name: str, before: Mapping[str, Fact], after: Mapping[str, Fact]) -> bool:
    """Whether a fact of one environment is another one in a second; one that is absent is None."""
    old, new = before.get(name), after.get(name)
    return old != new and not (name in _TOLD_OR_UNKNOWN and None in (old, new))
