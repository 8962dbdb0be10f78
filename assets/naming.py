"""Names: product + stage -> asset key, table, path; and how an identifier becomes SQL.

Nothing here opens a file or a connection.
"""

import re

IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
BATCH_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

RAW, CLEANED, FEATURES, PREDICTIONS, MONITORING, LEDGER = (
    "raw",
    "cleaned",
    "features",
    "predictions",
    "monitoring",
    "ledger",
)
SCHEMAS = (RAW, CLEANED, FEATURES, PREDICTIONS, MONITORING, LEDGER)


def quoted(identifier: str) -> str:
    """An identifier as DuckDB reads it, whatever is in it."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A SQL string literal, for the few statements (ATTACH, SET) that take no bound values."""
    return "'" + text.replace("'", "''") + "'"


def table(schema: str, name: str) -> str:
    """A table of the attached lake, quoted."""
    return f"lake.{quoted(schema)}.{quoted(name)}"


def asset_key(product: str, stage: str, *name: str) -> list[str]:
    """The asset key of a stage: ``[product, stage]`` or ``[product, stage, name]``."""
    return [product, stage, *name]


def op_name(product: str, stage: str, *name: str) -> str:
    """The Dagster op name of a stage: the parts of its asset key, joined."""
    return "__".join((product, stage, *name))


def partitions_name(product: str) -> str:
    """The name of a product's dynamic partitions: one key per batch."""
    return f"{product}_batches"


def is_batch_id(text: str) -> bool:
    """Whether a text may become a partition key: letters, digits, ``_``, ``.`` and ``-`` only."""
    return BATCH_ID.fullmatch(text) is not None


def version_order(label: str) -> tuple[tuple[int, str], ...]:
    """Sorts version labels as a person reads them: v2 before v10, none before any."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.findall(r"\d+|\D+", label))
