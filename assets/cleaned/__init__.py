"""The stage of typed, renamed and deduplicated rows, built by dbt."""
