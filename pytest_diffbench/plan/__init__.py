"""The work of a pipeline found out without weights, by running its loop over placeholders."""
