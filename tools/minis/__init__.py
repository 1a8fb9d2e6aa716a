"""Trains the miniature pipelines that pytest-diffbench ships: see `README.md` beside this file."""
