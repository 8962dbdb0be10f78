"""`headrace maintain`: make a product's lake small and clean, and say what was done."""

import json
from dataclasses import asdict

from rich.markup import escape

from assets.home import Home
from assets.maintenance.maintain import Maintenance, maintain
from assets.settings import Settings
from assets.spec import ProductSpec
from orchestration.cli.console import out, table

_MEGABYTE = 1e6


def maintain_lake(settings: Settings, spec: ProductSpec, *, dry_run: bool = False, as_json: bool = False) -> None:
    """Maintain a lake and print what became of files, bytes and snapshots.

    Args:
        settings: where the home is.
        spec: the product.
        dry_run: change nothing; print what would be done now.
        as_json: print JSON and nothing else.

    Raises:
        HeadraceError: a writer kept its place for too long, or files of others lie in the data path.
    """
    done = maintain(Home(settings), spec, dry_run=dry_run)
    if as_json:
        print(json.dumps(asdict(done), indent=2))
    else:
        _show(done)


def _show(done: Maintenance) -> None:
    title = f"{done.product}: {'what maintenance would do now' if done.is_dry_run else 'maintained'}"
    megabytes = [f"{size.bytes / _MEGABYTE:,.1f} MB" for size in (done.before, done.after)]
    sizes = [
        ("Parquet files", f"{done.before.files:,}", f"{done.after.files:,}"),
        ("their size", *megabytes),
        ("snapshots", f"{done.before.snapshots:,}", f"{done.after.snapshots:,}"),
    ]
    columns = ("", "now") if done.is_dry_run else ("", "before", "after")
    out.print(f"[bold]{escape(title)}[/]", soft_wrap=True)
    table("", columns, [row[: len(columns)] for row in sizes])
    small = "lie beside others of their table" if done.is_dry_run else "merged into few"
    for count, what in (
        (done.inlined_rows, "rows of the catalog written to files"),
        (done.rewritten_files, "files written anew without their deleted rows"),
        (done.merged_files, f"small files {small}"),
        (len(done.expired_snapshots), "snapshots expired that nothing names"),
        (done.kept_snapshots, "older snapshots kept, as a record names them"),
        (len(done.removed_files), "files removed that no snapshot needs any more"),
        (len(done.orphans), "orphaned files removed"),
        (len(done.stale_copies), "staged copies of killed processes removed"),
        (len(done.stale_quarantine), "kept deliveries removed that the ledger doesn't name"),
    ):
        if count:
            out.print(f"  {count:>7,} {what}")
    for path in (*done.orphans, *done.stale_copies, *done.stale_quarantine):
        out.print(f"          [dim]{escape(path)}[/]", soft_wrap=True)
