"""What runs: the registered models, and how their pipelines are built or loaded, one resident at a time."""
