"""The guidance gate, and the formulas that it holds pipelines against."""
