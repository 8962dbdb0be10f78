"""Every kill point, in one place. `test_kill_points.py` holds the list against the sources and what days pass."""

# of the statements that dbt itself sends, by its events (see `zygote.py`)
OF_DBT = tuple(
    f"dbt.{node}.{statement}"
    for node, statements in {
        "run": ("create.before", "commit.before", "commit.after"),
        "depots_cleaned": (
            "create.before",
            "alter.before",
            "commit.before",
            "commit.after",
            "drop.before",
            "drop.after",
        ),
        "parcels_cleaned": (
            "create.before",
            "delete.before",
            "insert.before",
            "commit.before",
            "commit.after",
        ),
        "parcels_features": (
            "create.before",
            "delete.before",
            "insert.before",
            "commit.before",
            "commit.after",
        ),
    }.items()
    for statement in statements
)

OF_MAINTENANCE = tuple(
    f"maintenance.{work}.{moment}"
    for work in ("flush", "rewrite", "merge", "expire", "cleanup", "orphans")
    for moment in ("before", "commit.before", "after")
)

KILL_POINTS = (
    "lake.catalog.after",
    "lake.ready.before",
    "lake.commit.before",
    "lake.commit.after",
    "landing.deliver.before",
    "landing.deliver.after",
    "landing.stage.after",
    "ingest.read.after",
    "ingest.kept.after",
    "ingest.supersede.after",
    "ingest.rows.moved",
    "ingest.rows.after",
    "ingest.quarantine.after",
    "ingest.commit.before",
    "ingest.commit.after",
    "ingest.skip.before",
    "ingest.refused.kept",
    "ingest.refused.after",
    "replay.read.after",
    "replay.rows.before",
    "replay.rows.after",
    "replay.quarantine.after",
    "replay.reasons.after",
    "replay.commit.before",
    "replay.commit.after",
    "replay.forget.before",
    "maintenance.leftover.after",
    *OF_MAINTENANCE,
    *OF_DBT,
)

# what needs a server is killed by tests that have one: the beginning of the names -> the test
ELSEWHERE = {
    "postgres.": "tests/integration/test_postgres.py",
    "landing.upload": "tests/faults/test_upload.py",
}
