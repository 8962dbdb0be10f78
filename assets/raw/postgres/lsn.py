"""Places in a PostgreSQL server's log (LSN), as numbers, as the server writes them and as batch ids."""

import re

from assets.errors import HeadraceError

_BATCH = re.compile(r"lsn-([0-9a-f]{16})")


def lsn_of_text(text: str) -> int:
    """`16/B374D848` as a number."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def text_of_lsn(lsn: int) -> str:
    """A number as the server writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def batch_of_lsn(lsn: int) -> str:
    """The batch that ends at this place; ids sort as places do."""
    return f"lsn-{lsn:016x}"


def lsn_of_batch(batch_id: str) -> int | None:
    """The place at which a batch ends; None for the id of another kind of batch."""
    match = _BATCH.fullmatch(batch_id)
    return int(match[1], 16) if match else None


def require_lsn(product: str, batch_id: str) -> int:
    """The place at which a batch ends.

    Raises:
        HeadraceError: it is no batch of a table.
    """
    lsn = lsn_of_batch(batch_id)
    if lsn is None:
        raise HeadraceError(
            "that is no batch of a PostgreSQL table",
            product=product,
            where=batch_id,
            expected="lsn- and 16 hexadecimal digits",
            fix=f"run what waits: headrace run {product}",
        )
    return lsn
