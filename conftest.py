"""For the project's own tests: pytest inside pytest, and tests that need a GPU."""

from __future__ import annotations

import os

import pytest

pytest_plugins = ["pytester"]


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
