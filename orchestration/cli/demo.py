"""`headrace demo`: the story of a product's first year, through the same jobs as the UI."""

from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from assets.home import Home
from assets.raw.landing import deliver
from assets.settings import Settings
from assets.spec import ProductSpec
from orchestration.cli.console import out
from orchestration.cli.runs import Runner
from orchestration.cli.summary import print_summary
from orchestration.demos import FLIGHTS_MONTHS, write_flights

FIRST = 9


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
    out.print()
    print_summary(home, spec)
    after = runner.home.lake(spec.product).snapshot()
    if before == after:
        out.print(f"[green]Nothing has changed[/]: everything was done before (lake snapshot {after}).")


def _land(home: Home, spec: ProductSpec, deliveries: Path, months: Sequence[str], extra: Sequence[str] = ()) -> None:
    names = [*extra, *(f"{kind}_{month}.csv" for month in months for kind in ("weather", spec.product))]
    for name in names:
        deliver(spec, home.landing(spec.product), deliveries / name)
