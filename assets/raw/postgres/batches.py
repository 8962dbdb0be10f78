"""What a product's raw asset, its sensor and `headrace run` ask of a table: which batch waits, and load it.

A batch is a snapshot of the table or the changes of whole transactions behind the batch before. Its id is the place in
the server's log up to which it reaches (`lsn-` and 16 hexadecimal digits), so ids sort as the changes were made.
"""

import logging
from collections.abc import Collection

from assets import ledger
from assets.home import Home
from assets.raw.postgres.changes import Waiting, changes_to_batch, waiting_changes
from assets.raw.postgres.connection import opened
from assets.raw.postgres.lsn import batch_of_lsn, lsn_of_batch, require_lsn
from assets.raw.postgres.slot import Progress, exclusive, log_end, read_progress
from assets.raw.postgres.snapshot import Tell, snapshot_to_batch
from assets.raw.postgres.table import inspect
from assets.records import Batch
from assets.spec import ProductSpec

_LOG = logging.getLogger(__name__)


def waiting(home: Home, spec: ProductSpec, *, asked: Collection[str] = ()) -> Waiting | None:
    """The batch to load next: a snapshot if none is loaded, else the table's changes up to now; None without any.

    Args:
        home: where the lake is.
        spec: the product.
        asked: batches that somebody has asked for; one that isn't loaded yet comes first, so that nobody asks for its
            changes under another name.

    Raises:
        HeadraceError: the database can't be reached, the table can't be followed, or changes are lost.
    """
    lake = home.lake(spec.product)
    with lake.connect() as lake_con:
        progress = read_progress(lake_con, spec)
    open_asks = sorted(item for item in asked if (lsn_of_batch(item) or 0) > progress.newest)
    if open_asks:
        return Waiting(open_asks[0], is_newest=len(open_asks) == 1)
    with opened(spec) as con:
        if progress.has_snapshot:
            return waiting_changes(lake, spec, con, progress)
        inspect(con, spec)
        # a log that has not grown since the last batch ends where that does, whose name is taken
        return Waiting(batch_of_lsn(max(log_end(con), progress.newest + 1)), is_newest=True)


def is_forgotten(home: Home, spec: ProductSpec) -> bool:
    """Whether the table's place in the log was given up, so that a load begins only when somebody asks for it."""
    with home.lake(spec.product).connect() as con:
        return read_progress(con, spec).is_forgotten


def waiting_batch(home: Home, spec: ProductSpec, *, asked: Collection[str] = ()) -> str | None:
    """The id of the batch to load next, or None; see `waiting`."""
    found = waiting(home, spec, asked=asked)
    return found.batch_id if found else None


def load_batch(home: Home, spec: ProductSpec, batch_id: str, *, tell: Tell = _LOG.info) -> Batch:
    """Load a batch exactly once; one that is loaded costs a look at the ledger.

    Args:
        home: where the lake is.
        spec: the product.
        batch_id: what `waiting_batch` said.
        tell: hears how far a snapshot is.

    Raises:
        HeadraceError: the database can't be reached, the table can't be followed, changes are lost, or the contract
            doesn't allow what has changed. Nothing was loaded, and the server keeps the changes.
    """
    require_lsn(spec.product, batch_id)
    progress, known = _look_up(home, spec, batch_id)
    if known:
        return known
    with opened(spec, lock_seconds=home.settings.lock_timeout_seconds) as con, exclusive(spec, con):
        progress, known = _look_up(home, spec, batch_id)  # again: another process may have had its turn
        if known:
            return known
        if progress.has_snapshot:
            return changes_to_batch(home, spec, con, progress, batch_id)
        return snapshot_to_batch(home, spec, con, progress, batch_id, tell)


def _look_up(home: Home, spec: ProductSpec, batch_id: str) -> tuple[Progress, Batch | None]:
    with home.lake(spec.product).connect() as con:
        known = [item for item in ledger.batches(con, spec.product) if item.status == "LOADED"]
        return read_progress(con, spec), next((item for item in known if item.batch_id == batch_id), None)
