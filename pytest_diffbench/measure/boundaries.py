"""Bracketing the components of a pipeline for the length of a call, without the call being able to tell.

Nothing that is attached acts for anything but what it was attached to. Methods are observed at the class: a copy that
the call makes of its scheduler has the class's method, bound to the copy. Modules are observed by hooks, and a method
that was put into an instance by a stand-in; both become nothing where they are copied or pickled, and once the
observation is over.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import inspect
from typing import TYPE_CHECKING, Any, Protocol

from pytest_diffbench.errors import MeasureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_diffbench.measure.components import Site

__tracebackhide__ = True  # of a pipeline that raises, its own frames are what is to be read


class Observer(Protocol):
    """Is told when control enters and leaves a component."""

    def enter(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Control is about to enter `site`."""

    def leave(self, site: Site, output: Any) -> None:
        """Control has left `site`. Not called when it raised."""


@contextlib.contextmanager
def observed(sites: Iterable[Site], observer: Observer) -> Iterator[None]:
    """Report every passage through `sites` to `observer`; take everything off again whatever happens."""
    watch = _Watch(observer)
    at_classes: dict[tuple[type, str], list[Site]] = {}
    with contextlib.ExitStack() as undo:
        undo.callback(watch.end)
        for site in sites:
            if site.method is None:
                if getattr(site.owner, "_compiled_call_impl", None) is not None:
                    _stand_in(site, "_compiled_call_impl", watch, undo)
                else:
                    _hook_module(site, watch, undo)
            elif site.method not in vars(site.owner) and _is_plain_method(type(site.owner), site.method):
                at_classes.setdefault((type(site.owner), site.method), []).append(site)
            else:
                _stand_in(site, site.method, watch, undo)
        for (kind, name), together in at_classes.items():
            _patch_class(kind, name, together, watch, undo)
        yield
        if lost := sorted(name for name, still_there in watch.attached if not still_there()):
            raise MeasureError(
                f"{', '.join(lost)}: the call removed the hooks by which it was observed, so that nothing of what it "
                "did is known. Remove only hooks of your own, by the handles that registering them returned."
            )


class _Watch:
    """An observation while it lasts; whatever of it the call kept reports to nobody afterwards.

    Several schedulers that step one after the other, with no denoiser called between them, make one step of the
    pipeline: joint audio and video, or frames that have a copy of the scheduler each. The first is the step, and the
    others are told as helpers.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer: Observer | None = observer
        self._stepped: list[object] = []
        """Schedulers that have stepped since a denoiser was called."""

        self.attached: list[tuple[str, Callable[[], bool]]] = []
        """What was attached to modules: whose, and whether it still is."""

    def end(self) -> None:
        """Let go of the observer."""
        self._observer = None
        self._stepped = []

    def enter(self, site: Site, owner: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Site | None:
        """Report an entrance; returns what to `leave` by, None where there is nobody to tell."""
        if self._observer is None:
            return None
        if site.role == "denoiser":
            self._stepped = []
        elif site.role == "step":
            if self._stepped and all(stepped is not owner for stepped in self._stepped):
                site = dataclasses.replace(site, component=f"another {site.component}", role="other")
                self._stepped.append(owner)
            else:
                self._stepped = [owner]
        self._observer.enter(site, args, kwargs)
        return site

    def leave(self, site: Site | None, output: Any) -> None:
        """Report an exit."""
        if site is not None and self._observer is not None:
            self._observer.leave(site, output)

    def through(self, site: Site, owner: object, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function that stands at a site."""
        entered = self.enter(site, owner, args, kwargs)
        output = function(*args, **kwargs)
        self.leave(entered, output)
        return output


def _is_plain_method(kind: type, name: str) -> bool:
    return inspect.isfunction(inspect.getattr_static(kind, name, None))


def _patch_class(kind: type, name: str, sites: Sequence[Site], watch: _Watch, undo: contextlib.ExitStack) -> None:
    original = inspect.getattr_static(kind, name)
    by_owner = {id(site.owner): site for site in sites}

    @functools.wraps(original)
    def passing(self: Any, *args: Any, **kwargs: Any) -> Any:
        # Another instance of the very class is a copy that stands for the component, or has taken its place.
        site = by_owner.get(id(self)) or (sites[0] if type(self) is kind else None)
        if site is None:
            return original(self, *args, **kwargs)
        return watch.through(site, self, functools.partial(original, self), *args, **kwargs)

    put(kind, name, passing, undo)


def _stand_in(site: Site, name: str, watch: _Watch, undo: contextlib.ExitStack) -> None:
    # Where a module is compiled as a whole, its hooks are traced into the graph: adding one would compile it anew.
    function = getattr(site.owner, name)
    put(site.owner, name, StandIn(function, functools.partial(watch.through, site, site.owner, function)), undo)


def put(owner: Any, name: str, value: Any, undo: contextlib.ExitStack) -> None:
    """Set an attribute, and put back what was there, unless the call itself has set another meanwhile."""
    # Past the owner's own __setattr__: a module's or a pipeline's would look at what it is handed.
    setter, deleter = (
        (type.__setattr__, type.__delattr__) if isinstance(owner, type) else (object.__setattr__, object.__delattr__)
    )
    had, before = name in vars(owner), vars(owner).get(name)

    def restore() -> None:
        if vars(owner).get(name) is value:
            if had:
                setter(owner, name, before)
            else:
                deleter(owner, name)

    setter(owner, name, value)
    undo.callback(restore)


class StandIn:
    """Stands for a callable among an instance's attributes; a copy of the instance gets the callable itself."""

    def __init__(self, function: Callable[..., Any], instead: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._instead = instead

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._instead(*args, **kwargs)

    def __copy__(self) -> Any:
        return self._function

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self._function, memo)

    def __reduce__(self) -> tuple[Any, ...]:
        return copy.copy, (self._function,)


class Hook:
    """A module's hook that can be pickled with its module, and is one that does nothing then.

    Functions can't be pickled where they are made within others, and a pipeline may well pickle a component.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> None:
        self._function(*args)

    def __deepcopy__(self, _memo: dict[int, Any]) -> Hook:
        return self  # as functions do: a copied denoiser denoises in place of the first

    def __reduce__(self) -> tuple[Any, ...]:
        return Hook, (_nothing,)


def _hook_module(site: Site, watch: _Watch, undo: contextlib.ExitStack) -> None:
    inside: list[Site | None] = []

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inside.append(watch.enter(site, module, args, kwargs))

    def after(_module: Any, _args: Any, _kwargs: Any, output: Any) -> None:
        watch.leave(inside.pop() if inside else None, output)

    # The outermost on both sides, so that transfers by offload hooks count for the component they serve.
    handles = (
        site.owner.register_forward_pre_hook(Hook(before), prepend=True, with_kwargs=True),
        site.owner.register_forward_hook(Hook(after), with_kwargs=True),
    )
    for handle in handles:
        undo.callback(handle.remove)

    def still_there() -> bool:
        now = (site.owner._forward_pre_hooks, site.owner._forward_hooks)
        return all(handle.id in hooks for handle, hooks in zip(handles, now, strict=True))

    watch.attached.append((site.name, still_there))


def _nothing(*_: Any) -> None:
    pass
