"""Embeddings in place of a prompt, and the tokens that fill them up."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import textwrap
from typing import TYPE_CHECKING, Any

from pytest_diffbench.invariants.invariant import Outcome, not_applicable, unable
from pytest_diffbench.measure.boundaries import observed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_diffbench.invariants.subject import Subject
    from pytest_diffbench.measure.components import Site

_APPENDED = 5
"""Masked tokens that are put behind a text that has none."""

_SHORTEST = 64
"""Tokens that the prompts of these checks, and what pipelines put before them, have room in."""


def prompt_embeddings(subject: Subject) -> Outcome:
    """What `encode_prompt` made of a prompt, passed in its place, gives the same."""
    arguments = _embeddings(subject)
    return subject.equal(
        subject.reference.arrays,
        subject.attempt(**arguments).arrays,
        sensitivity_rel=subject.prompts_differ(),
        where=tuple(name for name, value in arguments.items() if value is not None),
    )


def longer_padding(subject: Subject) -> Outcome:
    """Room for a longer text leaves the picture as it is, where the denoiser is told which tokens are padding."""
    subject.prompt()
    masks = _masks(subject)
    if not any(call.padded for call in subject.reference.calls if call.role == "denoiser"):
        not_applicable("no_mask", *masks)  # such as where learned tokens stand in for padding, and take part
    length = subject.defaults.get("max_sequence_length")
    if not isinstance(length, int):
        not_applicable("no_argument", "max_sequence_length")
    sensitivity_rel = subject.prompts_differ()
    try:
        other = subject.call(max_sequence_length=length + length // 2)
        changed = length + length // 2
    except Exception:  # a limit of the pipeline's own, or of its text encoder
        if length // 2 < _SHORTEST:
            unable("refused", f"max_sequence_length={length + length // 2}")
        changed = length // 2
        other = subject.attempt(max_sequence_length=changed)
    return subject.equal(
        subject.reference.arrays,
        other.arrays,
        sensitivity_rel=sensitivity_rel,
        where=(f"max_sequence_length={changed}, not {length}", *masks),
    )


def masked_tokens(subject: Subject) -> Outcome:
    """Whatever the embeddings of masked tokens are, the picture is the same."""
    import torch

    _masks(subject)
    arguments = _embeddings(subject)
    touched: list[str] = []
    for embeds, mask in _masked_pairs(arguments):
        tensor, kept = arguments[embeds], arguments[mask]
        noise = torch.Generator("cpu").manual_seed(7)
        if bool((kept == 0).any()):
            drawn = torch.randn(tensor.shape, generator=noise).to(tensor) * tensor.std()
            keep = (kept != 0).unsqueeze(-1)
            arguments[embeds] = torch.where(keep, tensor, drawn)
            touched.append(f"{embeds}: {int((kept == 0).sum())} masked tokens replaced")
        else:
            shape = (len(tensor), _APPENDED, tensor.shape[2])
            drawn = torch.randn(shape, generator=noise).to(tensor) * tensor.std()
            arguments[embeds] = torch.cat([tensor, drawn], dim=1)
            arguments[mask] = torch.cat([kept, torch.zeros_like(kept[:, :1]).expand(-1, _APPENDED)], dim=1)
            touched.append(f"{embeds}: {_APPENDED} masked tokens appended")
    if not touched:
        not_applicable("no_mask", *arguments)
    return subject.equal(
        subject.reference.arrays,
        subject.attempt(**arguments).arrays,
        sensitivity_rel=subject.prompts_differ(),
        where=tuple(touched),
    )


def _masks(subject: Subject) -> tuple[str, ...]:
    """Masks of texts that the denoiser is handed; ends the check where there are none: then padding takes part."""
    calls = [call for call in subject.reference.calls if call.role == "denoiser"]
    masks = tuple(dict.fromkeys(mask for call in calls for mask in call.masks))
    if not masks:
        not_applicable("no_mask", *dict.fromkeys(call.name for call in calls))
    return masks


def _masked_pairs(arguments: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names of embeddings and of the mask of their tokens."""
    import torch

    for prefix in ("prompt", "negative_prompt"):
        embeds = f"{prefix}_embeds"
        for mask in (f"{prefix}_attention_mask", f"{prefix}_embeds_mask"):
            tensor, kept = arguments.get(embeds), arguments.get(mask)
            if not isinstance(tensor, torch.Tensor) or not isinstance(kept, torch.Tensor):
                continue
            if tensor.ndim == 3 and kept.shape == tensor.shape[:2]:
                yield embeds, mask
                break


def _embeddings(subject: Subject) -> dict[str, Any]:
    """Arguments that stand for the prompt: what `encode_prompt` returns, by the names that the call gives it."""
    subject.prompt()
    if not callable(getattr(subject.pipeline, "encode_prompt", None)):
        not_applicable("no_method", "encode_prompt")
    if "prompt_embeds" not in subject.parameters:
        not_applicable("no_argument", "prompt_embeds")
    names = _names_of_encoded(subject.pipeline)
    encoded = _encoded(subject)
    arguments: dict[str, Any] = {}
    for group, values in zip(names, encoded, strict=False):
        if len(group) != len(values):
            unable("not_read", "encode_prompt")
        arguments |= {name: value for name, value in zip(group, values, strict=True) if name in subject.parameters}
    if arguments.get("prompt_embeds") is None:
        unable("not_read", "encode_prompt")
    texts = [
        name
        for name, value in subject.arguments.items()
        if isinstance(value, str) and name.startswith(("prompt", "negative_prompt"))
    ]
    without = [name for name in texts if not name.startswith("negative")] + [
        name for name in texts if name.startswith("negative") and "negative_prompt_embeds" in arguments
    ]
    return dict.fromkeys(without) | {name: value for name, value in arguments.items() if value is not None}


def _names_of_encoded(pipeline: Any) -> list[tuple[str, ...]]:
    """The names that a pipeline's call gives to what `encode_prompt` returns, a tuple for each place of it."""
    tree = _source_of_call(pipeline)
    names: list[tuple[str, ...]] = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Attribute)
            and node.value.func.attr == "encode_prompt"
        ):
            target = node.targets[0]
            elements = target.elts if isinstance(target, ast.Tuple) else [target]
            names.append(tuple(element.id if isinstance(element, ast.Name) else "" for element in elements))
    return names


def _source_of_call(pipeline: Any) -> ast.Module:
    """The source of a pipeline's call: its own, or that of the class that it is derived from where it has none."""
    trees = []
    for kind in type(pipeline).__mro__:
        if "__call__" in vars(kind):
            with contextlib.suppress(OSError, TypeError, SyntaxError):
                trees.append(ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(vars(kind)["__call__"])))))
    if not trees:
        unable("not_read", "encode_prompt")
    return trees[0]


@dataclasses.dataclass(slots=True)
class _Encoded:
    """Takes down what `encode_prompt` returns."""

    depth: int = 0
    returned: list[tuple[Any, ...]] = dataclasses.field(default_factory=list)

    def enter(self, _site: Site, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        """One more."""
        self.depth += 1

    def leave(self, _site: Site, output: Any) -> None:
        """The outermost alone: one may call another for the negative prompt."""
        self.depth -= 1
        if not self.depth:
            self.returned.append(tuple(output) if isinstance(output, list | tuple) else (output,))


def _encoded(subject: Subject) -> list[tuple[Any, ...]]:
    recorder = _Encoded()
    with observed([site for site in subject.sites if site.name == "encode_prompt"], recorder):
        subject.repeat()
    return recorder.returned
