"""Hooks of a project: facts of its own, another way to load, and a log of what was decided."""

import json
import os
from pathlib import Path

import pytest


def pytest_diffbench_environment():
    return {"rack": os.environ.get("RACK", "unknown"), "driver_patch": 3}


@pytest.hookimpl(wrapper=True)
def pytest_diffbench_load_pipeline(spec):
    pipeline = yield
    if spec.model == "flux":
        pipeline.vae.enable_slicing()
    return pipeline


def pytest_diffbench_outcome(report):
    log = os.environ.get("PERFORMANCE_LOG")
    if log:
        decisions = {verdict.gate: verdict.decision for verdict in report.verdicts}
        line = {"case": report.observation.case.id, "median_s": report.observation.run.median_s, **decisions}
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
