"""Which options can't stand together: refused before anything runs, rather than one of them be ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_diffbench.errors import OptionError
from pytest_diffbench.settings.options import flag
from pytest_diffbench.workers import turns

if TYPE_CHECKING:
    from pytest_diffbench.settings.options import Settings


def refuse_combinations(settings: Settings, *, parallel: bool) -> None:
    """Refuse what would be ignored, or would measure something else than it says.

    Args:
        settings: of the session.
        parallel: whether pytest-xdist runs several processes at once.

    Raises:
        OptionError: naming both options and the remedy.
    """
    for name, why in (
        ("selftest", "its figures would be those of a busy machine"),
        ("against", "processes that run at once slow each other down"),
    ):
        if parallel and getattr(settings, name):
            raise OptionError(f"{flag(name)} can't be combined with -n: {why}. Leave out -n.")
    for name, other, why in (
        ("selftest", "against", "it plants its slowdowns in this environment and needs no other"),
        ("selftest", "save", "it compares nothing with baselines, and saves none"),
        (
            "against",
            "save",
            "a comparison with another environment uses no baselines. Save in a separate run",
        ),
    ):
        if getattr(settings, name) and getattr(settings, other):
            raise OptionError(f"{flag(name)} and {flag(other)} can't be combined: {why}.")
    if settings.against is not None and settings.turns == "rounds" and not turns.SUPPORTED:
        raise OptionError(f"{flag('turns')}=rounds isn't possible on this system. Use processes.")
