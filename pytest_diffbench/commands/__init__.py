"""The `diffbench` command, one module a subcommand."""
