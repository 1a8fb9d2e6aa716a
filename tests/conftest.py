"""What several folders of tests need."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def real_libraries() -> None:
    """Import all that a measuring session imports, once and for good.

    pytester forgets the modules that a run inside this process imported; torch's extension modules don't survive
    being forgotten.
    """
    import safetensors.numpy  # noqa: F401 - imported for its own sake
    import scipy.special  # noqa: F401 - as above

    from pytest_diffbench import session, verdicts  # noqa: F401 - as above
    from pytest_diffbench.measure import runner  # noqa: F401 - as above
    from pytest_diffbench.pipelines.mini import build_mini
    from pytest_diffbench.pipelines.registry import MODELS
    from pytest_diffbench.report import junit, markdown, progress, session_json, terminal  # noqa: F401 - as above

    for name in ("lumina2", "flux"):
        pipeline = build_mini(MODELS[name])
        pipeline.set_progress_bar_config(disable=True)
        pipeline("a", num_inference_steps=1, height=128, width=128)
