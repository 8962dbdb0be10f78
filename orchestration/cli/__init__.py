"""The `headrace` command: thin, over the same functions that Dagster calls."""
