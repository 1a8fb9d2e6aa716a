"""Changes that a pipeline must be allowed: other kernels, other ways to call it, other ways to load it."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.attention
from broken_pipelines import channels_last
from plants import replaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fault_subjects import Plant


@dataclasses.dataclass(frozen=True)
class Benign:
    """A change that no gate may call worse.

    Attributes:
        name: what changes.
        subject: key of `SUBJECTS`.
        plant: changes the pipeline; None where only the call or the process differs.
        arguments: of the call that differ, in form and not in meaning.
        threads: of torch.
        fresh: in a process of its own.
        compiler: needs a C++ compiler.
        pieces: does the same in more or other pieces, of which the work gate may say that it's unsure.
    """

    name: str
    subject: str
    plant: Plant | None = None
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    threads: int = 1
    fresh: bool = False
    compiler: bool = False
    pieces: bool = False


def _channels_last(pipeline: Any) -> contextlib.AbstractContextManager[object]:
    return channels_last(*(part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)))


def _attention(backend: torch.nn.attention.SDPBackend) -> Plant:
    @contextlib.contextmanager
    def plant(_pipeline: Any) -> Iterator[None]:
        with torch.nn.attention.sdpa_kernel(backend):
            yield

    return plant


@contextlib.contextmanager
def _attention_by_hand(_pipeline: Any) -> Iterator[None]:
    """Attention as the formula says, in place of torch's kernel."""

    def plain(query: Any, key: Any, value: Any, attn_mask: Any = None, **given: Any) -> Any:
        assert not given.get("dropout_p")
        assert not given.get("enable_gqa")
        scores = query @ key.transpose(-1, -2) * (given.get("scale") or query.shape[-1] ** -0.5)
        if given.get("is_causal"):
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, float("-inf"))
        elif attn_mask is not None:
            scores = scores + attn_mask
        return scores.softmax(-1) @ value

    with replaced(torch.nn.functional, "scaled_dot_product_attention", plain):
        yield


@contextlib.contextmanager
def _offloaded(pipeline: Any) -> Iterator[None]:
    """Weights in memory of their own, brought in by accelerate's hooks for each call of a module."""
    from accelerate import cpu_offload
    from accelerate.hooks import remove_hook_from_module

    modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    for module in modules:
        cpu_offload(module, execution_device=torch.device("cpu"))
    try:
        yield
    finally:
        for module in modules:
            remove_hook_from_module(module, recurse=True)


@contextlib.contextmanager
def _deterministic(_pipeline: Any) -> Iterator[None]:
    torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=False)


@contextlib.contextmanager
def _gradients(pipeline: Any) -> Iterator[None]:
    """Parameters that ask for gradients; the pipeline's own `no_grad` remains."""
    modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    for module in modules:
        module.requires_grad_(requires_grad=True)
    try:
        yield
    finally:
        for module in modules:
            module.requires_grad_(requires_grad=False)


@contextlib.contextmanager
def _inference(_pipeline: Any) -> Iterator[None]:
    with torch.inference_mode():
        yield


@contextlib.contextmanager
def _progress(pipeline: Any) -> Iterator[None]:
    pipeline.set_progress_bar_config(disable=False)
    try:
        yield
    finally:
        pipeline.set_progress_bar_config(disable=True)


@contextlib.contextmanager
def _warm(pipeline: Any) -> Iterator[None]:
    """Used before, with another prompt and another size."""
    pipeline("a small yellow triangle on a black background", num_inference_steps=1, height=64, width=64)
    yield


@contextlib.contextmanager
def _sliced(pipeline: Any) -> Iterator[None]:
    pipeline.vae.enable_slicing()
    try:
        yield
    finally:
        pipeline.vae.disable_slicing()


@contextlib.contextmanager
def _attention_slices(pipeline: Any) -> Iterator[None]:
    """Attention of one head after the other."""
    kept = dict(pipeline.unet.attn_processors)
    pipeline.enable_attention_slicing("max")
    try:
        yield
    finally:
        pipeline.unet.set_attn_processor(kept)


@contextlib.contextmanager
def _tiled(pipeline: Any) -> Iterator[None]:
    """Tiling switched on, for pictures larger than this one."""
    pipeline.vae.enable_tiling()
    try:
        yield
    finally:
        pipeline.vae.disable_tiling()


@contextlib.contextmanager
def _reloaded(pipeline: Any) -> Iterator[None]:
    """Weights that were saved and loaded again."""
    names = [name for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)]
    kept = {name: getattr(pipeline, name) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        pipeline.save_pretrained(folder)
        again = type(pipeline).from_pretrained(folder, torch_dtype=torch.float32, local_files_only=True)
        for name in names:
            setattr(pipeline, name, getattr(again, name))
        try:
            yield
        finally:
            for name in names:
                setattr(pipeline, name, kept[name])


@contextlib.contextmanager
def _compiled(pipeline: Any) -> Iterator[None]:
    """One of the denoiser's modules by a kernel that torch wrote for it: more would take minutes."""
    module = pipeline.transformer.norm_out
    with replaced(module, "forward", torch.compile(module.forward, dynamic=False)):
        yield


@contextlib.contextmanager
def _compiled_decoder(pipeline: Any) -> Iterator[None]:
    """The whole decoder as the graph that torch makes of it, run by torch's own kernels: those need no compiler."""
    graphs = []

    def counted(graph: torch.fx.GraphModule, _examples: list[torch.Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    decoder = pipeline.vae.decoder
    with replaced(decoder, "forward", torch.compile(decoder.forward, backend=counted, dynamic=False, fullgraph=True)):
        yield
    assert graphs, "the decoder was never compiled"


@contextlib.contextmanager
def _model_offload(pipeline: Any) -> Iterator[None]:
    """What `enable_model_cpu_offload` sets up, with the CPU as the device that models are brought to by turns."""
    from accelerate import cpu_offload_with_hook
    from accelerate.hooks import remove_hook_from_module

    parts = [getattr(pipeline, name) for name in pipeline.model_cpu_offload_seq.split("->")]
    modules = [part for part in parts if part is not None]
    before = None
    for module in modules:
        _, before = cpu_offload_with_hook(module, torch.device("cpu"), prev_module_hook=before)
    try:
        yield
    finally:
        for module in modules:
            remove_hook_from_module(module, recurse=True)


@contextlib.contextmanager
def _copied(pipeline: Any) -> Iterator[None]:
    """A scheduler of its own, with the same settings."""
    kept = pipeline.scheduler
    pipeline.scheduler = type(kept).from_config(kept.config)
    try:
        yield
    finally:
        pipeline.scheduler = kept


_MATH = torch.nn.attention.SDPBackend.MATH

BENIGN: tuple[Benign, ...] = (
    Benign("run again", "lumina2"),
    Benign("run again", "flux"),
    Benign("in a fresh process", "lumina2", fresh=True),
    Benign("two threads", "lumina2", threads=2, fresh=True),
    Benign("channels last", "lumina2", _channels_last, pieces=True),
    Benign("channels last", "sdxl", _channels_last, pieces=True),
    Benign("attention by torch's math", "lumina2", _attention(_MATH), pieces=True),
    Benign("attention by torch's math", "flux", _attention(_MATH), pieces=True),
    Benign("attention by hand", "lumina2", _attention_by_hand, pieces=True),
    Benign("attention by hand", "flux", _attention_by_hand, pieces=True),
    Benign("offload by accelerate's hooks", "lumina2", _offloaded, pieces=True),
    Benign("model offload", "lumina2", _model_offload),
    Benign("model offload", "flux", _model_offload),
    Benign("a list of one prompt", "lumina2", arguments={"prompt": ["a large red circle on a blue background"]}),
    Benign("deterministic algorithms", "lumina2", _deterministic),
    Benign("parameters with gradients", "lumina2", _gradients),
    Benign("inference mode", "flux", _inference, pieces=True),
    Benign("progress bar on", "lumina2", _progress),
    Benign("warm", "lumina2", _warm),
    Benign("attention in slices", "sdxl", _attention_slices, pieces=True),
    Benign("decoder in slices", "lumina2", _sliced),
    Benign("tiling that isn't needed", "lumina2", _tiled),
    Benign("saved and loaded again", "flux", _reloaded),
    Benign("another scheduler of the same settings", "lumina2", _copied),
    Benign("a whole decoder as a graph", "lumina2", _compiled_decoder),
    Benign("a compiled layer", "lumina2", _compiled, compiler=True),
)
