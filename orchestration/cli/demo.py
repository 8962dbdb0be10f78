"""`headrace demo`: a product's story on data that a package ships, through the same jobs as the UI."""

from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from assets.home import Home
from assets.raw.landing import identify
from assets.raw.places import deliver
from assets.settings import Settings
from assets.spec import ProductSpec
from orchestration.cli.console import out
from orchestration.cli.runs import Runner
from orchestration.cli.summary import print_summary
from orchestration.demos import FLIGHTS_MONTHS, find_demo, write_flights

FIRST = 9


def tell(settings: Settings, spec: ProductSpec) -> None:
    """Run a product's demo: a year of months for flights, else its deliveries one after the other.

    Raises:
        HeadraceError: the product has no demo, or a run was stopped.
    """
    write = find_demo(spec.product).write
    if write is None:
        flights(settings, spec)
        return
    home = Home(settings)
    out.print(f"[bold]{spec.title}[/] {find_demo(spec.product).data}, home {settings.home}")
    files = write(settings.home / "deliveries" / spec.product)
    runner = Runner(settings, spec)
    before = home.lake(spec.product).snapshot()
    for place, file in enumerate(files, start=1):
        deliver(home, spec, file)
        identity = identify(spec, file.name)
        batch_id = identity.batch_id if identity else ""
        out.print(f"\n[bold]{place}. {file.name} lands[/]: a model is trained, judged and, if it is blessed, served")
        if not runner.go_all_the_way(batch_id, cause="demo"):
            out.print("  [dim]done before[/]")
    _sum_up(home, spec, before)


def flights(settings: Settings, spec: ProductSpec) -> None:
    """January to September train the first champion; then each month is scored, judged and learned from."""
    home = Home(settings)
    deliveries = settings.home / "deliveries" / spec.product
    out.print(f"[bold]{spec.title}[/] {len(FLIGHTS_MONTHS)} months of real flights, home {settings.home}")
    with Progress(console=out, transient=True) as bar:
        task = bar.add_task("writing deliveries", total=len(FLIGHTS_MONTHS))
        write_flights(deliveries, lambda done, _total: bar.update(task, completed=done))
    runner = Runner(settings, spec)
    before = runner.home.lake(spec.product).snapshot()
    first, later = FLIGHTS_MONTHS[:FIRST], FLIGHTS_MONTHS[FIRST:]

    out.print(f"\n[bold]1. {first[0]} to {first[-1]} land[/] and become the first champion")
    _land(home, spec, deliveries, first, extra=["planes.csv"])
    runner.load(first, cause="demo")
    if not runner.go_all_the_way(first[-1], cause="demo"):
        out.print("  [dim]done before[/]")
    for place, month in enumerate(later, start=2):
        out.print(f"\n[bold]{place}. {month} lands[/]: scored, then judged by its labels; a challenger is trained")
        _land(home, spec, deliveries, [month])
        if not runner.go_all_the_way(month, cause="demo"):
            out.print("  [dim]done before[/]")
    _sum_up(home, spec, before)


def _sum_up(home: Home, spec: ProductSpec, before: int) -> None:
    """Where the product stands, and whether the demo did anything since a snapshot."""
    out.print()
    print_summary(home, spec)
    after = home.lake(spec.product).snapshot()
    if before == after:
        out.print(f"[green]Nothing has changed[/]: everything was done before (lake snapshot {after}).")


def _land(home: Home, spec: ProductSpec, deliveries: Path, months: Sequence[str], extra: Sequence[str] = ()) -> None:
    names = [*extra, *(f"{kind}_{month}.csv" for month in months for kind in ("weather", spec.product))]
    for name in names:
        deliver(home, spec, deliveries / name)
