"""Performance regression tests for diffusion pipelines, as a pytest plugin."""

__version__ = "0.1.0"
