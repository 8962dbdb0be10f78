"""`headrace forget-source`: give up a product's place in the log of its PostgreSQL server."""

from assets.home import Home
from assets.raw.postgres.slot import forget_source as forget
from assets.settings import Settings
from assets.spec import ProductSpec
from orchestration.cli.console import out


def forget_source(settings: Settings, spec: ProductSpec) -> None:
    """Drop the slot and the publication of a product; what is loaded stays, and the next load takes a new snapshot.

    Raises:
        HeadraceError: the product has no table, or the database can't be reached.
    """
    with out.status("dropping slot and publication"):
        found = forget(Home(settings), spec)
    dropped = f"dropped {' and '.join(found.dropped)}" if found.dropped else "the server keeps nothing of this product"
    for line in (dropped, found.left):
        if line:
            out.print(line, markup=False, soft_wrap=True)
    out.print(f"rows that are loaded stay, and the sensor rests; headrace run {spec.product} takes a new snapshot")
