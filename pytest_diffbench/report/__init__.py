"""Tells people and programs what was measured and decided: records in, text out."""
