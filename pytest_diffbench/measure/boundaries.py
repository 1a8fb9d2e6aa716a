"""Bracketing the components of a pipeline for the length of a call, and leaving no trace afterwards."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_diffbench.measure.components import Site


class Observer(Protocol):
    """Is told when control enters and leaves a component."""

    def enter(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Control is about to enter `site`."""

    def leave(self, site: Site, output: Any) -> None:
        """Control has left `site`. Not called when it raised."""


@contextlib.contextmanager
def observed(sites: Iterable[Site], observer: Observer) -> Iterator[None]:
    """Report every passage through `sites` to `observer`; take everything off again whatever happens."""
    with contextlib.ExitStack() as undo:
        for site in sites:
            if site.method is not None:
                _wrap_method(site, observer, undo)
            elif getattr(site.owner, "_compiled_call_impl", None) is not None:
                _wrap_compiled(site, observer, undo)
            else:
                _hook_module(site, observer, undo)
        yield


def _hook_module(site: Site, observer: Observer, undo: contextlib.ExitStack) -> None:
    def before(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        observer.enter(site, args, kwargs)

    def after(_module: Any, _args: Any, _kwargs: Any, output: Any) -> None:
        observer.leave(site, output)

    # The outermost on both sides, so that transfers by offload hooks count for the component they serve.
    undo.callback(site.owner.register_forward_pre_hook(before, prepend=True, with_kwargs=True).remove)
    undo.callback(site.owner.register_forward_hook(after, with_kwargs=True).remove)


def _wrap_compiled(site: Site, observer: Observer, undo: contextlib.ExitStack) -> None:
    # `module.compile()` traces the module's hooks into its graph, so that adding one would recompile it.
    original = site.owner._compiled_call_impl

    def restore() -> None:
        site.owner._compiled_call_impl = original

    site.owner._compiled_call_impl = _passing(site, observer, original)
    undo.callback(restore)


def _wrap_method(site: Site, observer: Observer, undo: contextlib.ExitStack) -> None:
    name, owner = site.method, site.owner
    assert name is not None
    own = vars(owner)
    had, before = name in own, own.get(name)

    def restore() -> None:
        if had:
            object.__setattr__(owner, name, before)
        else:
            object.__delattr__(owner, name)

    # Past the owner's own __setattr__: a module's or a pipeline's would look at what it is handed.
    object.__setattr__(owner, name, _passing(site, observer, getattr(owner, name)))
    undo.callback(restore)


def _passing(site: Site, observer: Observer, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def passing(*args: Any, **kwargs: Any) -> Any:
        observer.enter(site, args, kwargs)
        output = function(*args, **kwargs)
        observer.leave(site, output)
        return output

    return passing
