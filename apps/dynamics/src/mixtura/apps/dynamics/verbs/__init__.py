"""The subcommands of `mixtura-dynamics` that are plain functions."""
