"""Measuring processes of a session's own: how they are started, what they are told, and what they tell."""
