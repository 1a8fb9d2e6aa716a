"""The output gate."""
