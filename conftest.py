"""For the project's own tests: pytest inside pytest, real libraries, and tests that need a GPU."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["pytester"]

# what tests of several folders share: pytest finds by itself only what lies beside a test
sys.path.insert(0, str(Path(__file__).parent / "tests" / "helpers"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of CUDA where there is none; fail them where one was promised."""
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        why = "needs a CUDA device"
        if os.environ.get("DIFFBENCH_REQUIRE_GPU") == "1":
            pytest.fail(f"{why}, and DIFFBENCH_REQUIRE_GPU=1 promises one", pytrace=False)
        pytest.skip(why)


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the locks of stores, one a store, out of the machine's folder for temporary files."""
    folder = str(tmp_path_factory.mktemp("locks"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session")
def real_libraries() -> None:
    """Import all that a measuring session imports, once and for good.

    pytester forgets the modules that a run inside this process imported; torch's extension modules don't survive
    being forgotten.
    """
    import hypothesis.strategies  # noqa: F401 - imported for its own sake: its plugin reads it anew in every run else
    import safetensors.numpy  # noqa: F401 - as above
    import scipy.special  # noqa: F401 - as above

    from pytest_diffbench import session, verdicts  # noqa: F401 - as above
    from pytest_diffbench.judge import kernels  # noqa: F401 - as above
    from pytest_diffbench.measure import runner  # noqa: F401 - as above
    from pytest_diffbench.pipelines.mini import build_mini
    from pytest_diffbench.pipelines.registry import MODELS
    from pytest_diffbench.report import junit, markdown, progress, session_json, terminal  # noqa: F401 - as above

    for name in ("lumina2", "flux"):
        pipeline: Any = build_mini(MODELS[name])
        pipeline.set_progress_bar_config(disable=True)
        pipeline("a", num_inference_steps=1, height=128, width=128)
