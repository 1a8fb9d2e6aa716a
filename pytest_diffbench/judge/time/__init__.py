"""The time gate."""
