"""A table of a PostgreSQL database as a source: one snapshot, then its changes, each exactly once."""
