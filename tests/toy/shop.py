"""The toy shop's data and how its tests run the real command: orders with a planted rule, in seconds."""

import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from assets.home import Home
from assets.settings import CHECKOUT, Settings

TOY = CHECKOUT / "tests" / "toy"
CUSTOMERS = {"ada": "no", "bo": "se", "cy": "no", "di": "se"}


def orders(batch: int, rows: int = 240, *, shift: float = 0.0, noise: float = 0.1) -> pl.DataFrame:
    """A month of orders: large ones and those of ada come back, but for noise; `shift` moves the amounts."""
    random = np.random.default_rng(batch)
    start = datetime(2024, 1, 1) + timedelta(days=30 * (batch - 1))  # noqa: DTZ001 - the lake's times are naive UTC
    amount = random.uniform(0, 100, rows) + shift
    customer = random.choice(list(CUSTOMERS), rows)
    returned = ((amount - shift > 50) | (customer == "ada")) ^ (random.uniform(0, 1, rows) < noise)
    at = [start + timedelta(minutes=int(minute)) for minute in np.sort(random.integers(0, 30 * 24 * 60 - 3000, rows))]
    known = random.uniform(0, 1, rows) > 0.05
    return pl.DataFrame(
        {
            "order_id": np.arange(rows) + batch * 10_000,
            "ordered_at": [moment.isoformat() for moment in at],
            "returned_at": [
                (moment + timedelta(days=1)).isoformat() if sure else None
                for moment, sure in zip(at, known, strict=True)
            ],
            "customer": customer,
            "amount": np.round(amount, 2),
            "is_returned": [bool(value) if sure else None for value, sure in zip(returned, known, strict=True)],
        }
    )


def drop(settings: Settings, batches: Sequence[int], **changes: float) -> None:
    """Put orders of these batches and the customers into the landing folder."""
    folder = Home(settings).landing("shop")
    pl.DataFrame({"customer": list(CUSTOMERS), "country": list(CUSTOMERS.values())}).write_csv(folder / "customers.csv")
    for batch in batches:
        orders(batch, **changes).write_csv(folder / f"orders_{batch:02}.csv")


def environment(settings: Settings) -> dict[str, str]:
    """What the command needs to see the same home, products and dbt project."""
    return {
        **settings.environment(),
        "HEADRACE_PRODUCTS": str(settings.products),
        "HEADRACE_DBT_PROJECT": str(settings.dbt_project),
        "COLUMNS": "200",
    }


def headrace(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real command on a home."""
    return subprocess.run(
        [sys.executable, "-m", "orchestration.cli.main", *arguments],
        cwd=CHECKOUT,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def killed_python(settings: Settings, code: str) -> int:
    """Run code in a process of its own that is expected to kill itself; returns its exit code."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        env=environment(settings),
        capture_output=True,
        timeout=300,
        check=False,
    ).returncode
