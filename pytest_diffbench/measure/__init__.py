"""Observing a pipeline: what it computed, how long each part took, what memory it needed, what came out."""
