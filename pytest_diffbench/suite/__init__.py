"""Ready-made benchmarks: `pytest --diffbench --pyargs pytest_diffbench.suite`.

Truncation is measured with renorm off, renorm without truncation, and then both together, so that each effect
stands alone. Minis make few steps.

diffusers' own defaults are truncation off (`cfg_trunc_ratio=1.0`) and renorm on.
"""
