"""What the name of a landed file means: its source, its batch and its version; and what a batch still waits for.

Pure: no folder and no object store is looked at here (`places.py` does that).
"""

import re
from collections.abc import Collection
from typing import NamedTuple

from assets.naming import is_batch_id, version_order
from assets.spec import ProductSpec

REFERENCE_BATCH = "reference"

# Names that copying tools give a file while it is being written.
UNFINISHED = (".part", ".tmp", ".partial", ".crdownload", ".filepart", ".swp")


class Identity(NamedTuple):
    """What a file name says."""

    source: str
    batch_id: str
    version_label: str = ""


def identify(spec: ProductSpec, name: str, *, location: str | None = None) -> Identity | None:
    """The source, batch and version that a file name means, or None.

    A source without batches (a register that is delivered whole) has the batch id ``reference``.

    Args:
        spec: the product.
        name: the file's name, or an object's key behind the source's prefix.
        location: only sources whose files land there; all of them when left out.
    """
    for source, item in spec.sources.items():
        if item.postgres or location not in (None, item.location):
            continue
        match = re.fullmatch(item.files, name)
        if match:
            said = match.groupdict()
            batch_id = (said.get("batch") or "") if item.has_batch else REFERENCE_BATCH
            return Identity(source, batch_id, said.get("version") or "") if is_batch_id(batch_id) else None
    return None


def rank(version_label: str, name: str) -> tuple[tuple[tuple[int, str], ...], str, str]:
    """Where a file stands among the files of its batch: of two, the one of the greater rank counts.

    By version as a person reads it (``v2`` before ``v10``), then by name; never by what arrived first.
    """
    return version_order(version_label), version_label, name


def lacking(
    spec: ProductSpec, batch_id: str, landed: Collection[tuple[str, str]], loaded: Collection[tuple[str, str]]
) -> list[str]:
    """The sources that a batch waits for: every reference that isn't optional must have been delivered.

    Args:
        spec: the product.
        batch_id: the batch.
        landed: source and batch id of the files that have landed.
        loaded: source and batch id of everything in the ledger.
    """
    there = {*landed, *loaded}
    sources = {source for source, _ in there}
    return [
        name
        for name, item in spec.references.items()
        if not item.optional and ((name, batch_id) not in there if item.has_batch else name not in sources)
    ]
