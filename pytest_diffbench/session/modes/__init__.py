"""The four modes of a session, and which of them the options ask for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pytest_diffbench.workers import exchange

if TYPE_CHECKING:
    from pytest_diffbench.session.context import Context
    from pytest_diffbench.session.mode import Mode


def is_worker() -> bool:
    """Whether this process was started by a session, to measure for it."""
    return exchange.VARIABLE in os.environ


def mode_of(context: Context) -> Mode:
    """The mode that a session is in.

    Raises:
        UsageError: what the options name can't be used.
    """
    if is_worker():
        from pytest_diffbench.session.modes.worker import Worker

        return Worker.from_environment()
    if context.settings.selftest:
        from pytest_diffbench.session.modes.selftest import SelfTest

        return SelfTest(context.config, context.launcher, context.budget)
    if context.settings.against is not None:
        from pytest_diffbench.session.modes.environment import OtherEnvironment

        return OtherEnvironment(context.config, context.settings, context.launcher, context.budget)
    from pytest_diffbench.session.modes.stored import StoredBaselines

    return StoredBaselines(context)
