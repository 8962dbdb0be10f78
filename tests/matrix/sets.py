"""Data sets of other people (from packages) and ugly ones (made): written as the files that a user would have."""

import gzip
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl


@dataclass(frozen=True)
class DataSet:
    """One set: how its files are made, what `new` is told, and what it must conclude (or the words of its refusal)."""

    make: Callable[[Path], list[Path]]
    options: dict[str, Any] = field(default_factory=dict)
    task: str = ""
    target: str = ""
    key: tuple[str, ...] = ("batch_id", "row_number")
    without: tuple[str, ...] = ()  # columns that must be no features
    refusal: str = ""


def package_file(package: str, *parts: str) -> Path:
    """A file that an installed package ships; the package isn't imported."""
    found = find_spec(package)
    assert found is not None
    assert found.origin
    return Path(found.origin).parent.joinpath(*parts)


def copied(name: str, package: str, *parts: str) -> Callable[[Path], list[Path]]:
    """The file of a package as it is."""

    def make(folder: Path) -> list[Path]:
        content = package_file(package, *parts).read_bytes()
        path = folder / name
        path.write_bytes(gzip.decompress(content) if parts[-1].endswith(".gz") else content)
        return [path]

    return make


def pydataset(name: str, *, columns: tuple[str, ...] = ()) -> Callable[[Path], list[Path]]:
    """A table of pydataset's archive, with its nameless first column unless `columns` says which to keep."""

    def make(folder: Path) -> list[Path]:
        with tarfile.open(package_file("pydataset", "resources.tar.gz")) as archive:
            member = next(
                item
                for item in archive.getmembers()
                if item.name.endswith(f"/{name}.csv") and not Path(item.name).name.startswith("._")
            )
            opened = archive.extractfile(member)
            assert opened is not None
            content = opened.read()
        path = folder / f"{name}.csv"
        path.write_bytes(content)
        if columns:
            pl.read_csv(path, infer_schema=False).select(columns).write_csv(path)
        return [path]

    return make


def framed(name: str, loader: str) -> Callable[[Path], list[Path]]:
    """A set that scikit-learn loads from the files it ships."""

    def make(folder: Path) -> list[Path]:
        from sklearn import datasets

        frame = getattr(datasets, loader)(as_frame=True).frame
        frame.to_csv(folder / name, index=False)
        return [folder / name]

    return make


def ugly_names(folder: Path) -> list[Path]:
    """Spaces, accents, reserved words, digits first, twins in upper and lower case, nothing, braces, another script."""
    random = np.random.default_rng(1)
    rows = 400
    size, order = random.normal(size=rows), random.choice(["a", "b'c", "d"], rows)
    noise = random.normal(0, 0.7, rows)
    columns: dict[str, Any] = {
        "": range(1, rows + 1),
        "select": order,
        "Größe (cm)": size.round(3),
        "größe (cm)": random.normal(size=rows).round(3),
        "2nd value": random.integers(0, 9, rows),
        "row_number": random.integers(0, 9, rows),
        "数量": random.integers(0, 50, rows),
        "{{ x }}": random.choice(["{% y %}", "{{ z }}"], rows),
        "probability": random.uniform(size=rows).round(3),
        'say "hi", you': random.uniform(size=rows).round(3),
        "Order ?": np.where(size + (order == "a") + noise > 0.3, "yes", "no"),
    }
    pl.DataFrame(list(columns.values()), schema=[f"c{n}" for n in range(len(columns))]).write_csv(
        folder / "body.csv", include_header=False
    )
    header = ",".join('"' + name.replace('"', '""') + '"' for name in columns)
    path = folder / "été 2023 (données).csv"
    path.write_text(header + "\n" + (folder / "body.csv").read_text(encoding="utf-8"), encoding="utf-8")
    return [path]


def german_export(folder: Path) -> list[Path]:
    """Semicolons, decimal commas, Windows-1252, German dates, thousands in a text, `-` for nothing."""
    random = np.random.default_rng(2)
    rows = 600
    area = random.uniform(30, 200, rows)
    price = 2000 * area * random.uniform(0.8, 1.2, rows)
    built = [date(1950, 1, 1) + timedelta(days=int(days)) for days in random.integers(0, 25_000, rows)]
    lines = ["Fläche;Straße;Baujahr am;Preis;Zustand"]
    lines += [
        f"{str(round(a, 1)).replace('.', ',')};{street};{at:%d.%m.%Y};{'-' if place % 50 == 0 else round(p)};{state}"
        for place, (a, street, at, p, state) in enumerate(
            zip(
                area,
                random.choice(["Süd", "Nord"], rows),
                built,
                price,
                random.choice(["gut", "mäßig"], rows),
                strict=True,
            )
        )
    ]
    path = folder / "wohnungen.csv"
    path.write_bytes("\r\n".join(lines).encode("cp1252"))
    return [path]


def leaky(folder: Path) -> list[Path]:
    """A boolean target with missing labels; a copy of it, an outcome nearly so, identifiers, constants, free text."""
    random = np.random.default_rng(3)
    rows = 1500
    age, city = random.integers(18, 90, rows), random.choice([f"city {n}" for n in range(300)], rows)
    left = random.uniform(size=rows) < 1 / (1 + np.exp(-(age - 55) / 12))
    words = np.array(["slow", "great", "price", "late", "helpful", "broken", "nice", "again", "never", "team"])
    notes = [
        " ".join(random.choice(words, 6)) + (" cancel" if gone and random.uniform() < 0.4 else "") for gone in left
    ]
    pl.DataFrame(
        {
            "customer_id": random.permutation(rows) + 1000,
            "signed_up": [str(date(2020, 1, 1) + timedelta(days=int(n))) for n in random.integers(0, 1200, rows)],
            "age": age,
            "city": city,
            "note": notes,
            "session": [f"{n:08x}" for n in random.permutation(rows)],
            "country": ["no"] * rows,
            "empty": [None] * rows,
            "refund_after": np.where(left, random.integers(1, 500, rows), 0),
            "status_text": np.where(left, "gone", "here"),
            "amount": [f"${n:,.2f}" for n in random.uniform(10, 9000, rows)],
            "is_gone": [None if n % 40 == 0 else bool(gone) for n, gone in enumerate(left)],
        }
    ).write_csv(folder / "customers.csv")
    return [folder / "customers.csv"]


def dates_to_predict(folder: Path) -> list[Path]:
    """A date target."""
    random = np.random.default_rng(4)
    rows = 500
    distance, kind = random.uniform(10, 900, rows), random.choice(["air", "sea", "road"], rows)
    days = 5 + distance / 20 + 30 * (kind == "sea") + random.normal(0, 4, rows)
    pl.DataFrame(
        {
            "kind": kind,
            "distance_km": distance.round(1),
            "weight": random.uniform(1, 50, rows).round(2),
            "arrived_on": [str(date(2024, 3, 1) + timedelta(days=int(n))) for n in days],
        }
    ).write_csv(folder / "parcels.csv")
    return [folder / "parcels.csv"]


def tiny(folder: Path) -> list[Path]:
    """150 rows, a rare class, missing labels."""
    random = np.random.default_rng(5)
    x, y = random.normal(size=150), random.normal(size=150)
    pl.DataFrame(
        {
            "x value": x.round(3),
            "y value": y.round(3),
            "Default": np.where(x + 0.5 * random.normal(size=150) > 0.8, "Y", "N"),
        }
    ).write_csv(folder / "tiny.csv")
    return [folder / "tiny.csv"]


def wide(folder: Path) -> list[Path]:
    """500 columns, of which three matter."""
    random = np.random.default_rng(6)
    matrix = random.normal(size=(800, 500)).round(3)
    target = (matrix[:, 3] + matrix[:, 77] - matrix[:, 400] + random.normal(0, 0.5, 800) > 0).astype(int)
    frame = pl.DataFrame(matrix, schema=[f"V{n}" for n in range(500)]).with_columns(pl.Series("Class", target))
    frame.write_csv(folder / "wide.csv")
    return [folder / "wide.csv"]


def months(folder: Path) -> list[Path]:
    """Three monthly files with a time in their rows."""
    random = np.random.default_rng(7)
    files = []
    for month in (1, 2, 3):
        rows = 400
        at = [f"2024-{month:02}-{day:02}T{hour:02}:00:00" for day, hour in zip(
            random.integers(1, 28, rows), random.integers(0, 24, rows), strict=True)]  # fmt: skip
        amount = random.gamma(2, 30, rows)
        bad = random.uniform(size=rows) < 1 / (1 + np.exp(-(amount - 80) / 20))
        path = folder / f"payments_2024-{month:02}.csv"
        pl.DataFrame(
            {"payment_id": np.arange(rows) + month * 10_000, "paid_at": at, "amount": amount.round(2),
             "channel": random.choice(["web", "shop", "app"], rows), "fraud": bad.astype(int)}
        ).write_csv(path)  # fmt: skip
        files.append(path)
    return files


def constant_target(folder: Path) -> list[Path]:
    """Nothing to tell apart."""
    pl.DataFrame({"a": range(200), "b": [n % 7 for n in range(200)], "target": ["same"] * 200}).write_csv(
        folder / "c.csv"
    )
    return [folder / "c.csv"]


def nothing_but_identifiers(folder: Path) -> list[Path]:
    """No feature is left."""
    pl.DataFrame(
        {"id": range(200), "code": [f"k{n}" for n in range(200)], "target": [n % 2 for n in range(200)]}
    ).write_csv(folder / "ids.csv")
    return [folder / "ids.csv"]


def few_rows(folder: Path) -> list[Path]:
    """20 rows."""
    pl.DataFrame({"a": range(20), "b": [n % 3 for n in range(20)], "y": [n % 2 for n in range(20)]}).write_csv(
        folder / "few.csv"
    )
    return [folder / "few.csv"]


SETS: dict[str, DataSet] = {
    "breast_cancer": DataSet(framed("breast_cancer.csv", "load_breast_cancer"), task="binary", target="target"),
    "iris": DataSet(framed("iris.csv", "load_iris"), task="multiclass", target="target"),
    "wine": DataSet(framed("wine.csv", "load_wine"), task="multiclass", target="target"),
    "digits": DataSet(framed("digits.csv", "load_digits"), task="multiclass", target="target"),
    "diabetes": DataSet(framed("diabetes.csv", "load_diabetes"), task="regression", target="target"),
    "sklearn_iris_as_shipped": DataSet(
        copied("iris.csv", "sklearn", "datasets", "data", "iris.csv"), task="multiclass", target="virginica"
    ),
    "sklearn_wine_as_shipped": DataSet(
        copied("wine_data.csv", "sklearn", "datasets", "data", "wine_data.csv"),
        refusal="the rows have more fields than",
    ),
    "penguins": DataSet(
        copied("penguins.csv", "plotnine", "data", "penguins.csv"),
        {"target": "species"},
        task="multiclass",
        target="species",
    ),
    "diamonds": DataSet(
        copied("diamonds.csv", "plotnine", "data", "diamonds.csv"),
        {"target": "price"},
        task="regression",
        target="price",
    ),
    "mpg": DataSet(
        copied("mpg.csv", "plotnine", "data", "mpg.csv"), {"target": "hwy"}, task="regression", target="hwy"
    ),
    "seattle_weather": DataSet(
        copied("seattle-weather.csv", "vega_datasets", "_data", "seattle-weather.csv"),
        task="multiclass",
        target="weather",
    ),
    "stocks": DataSet(
        copied("stocks.csv", "vega_datasets", "_data", "stocks.csv"),
        {"task": "forecast"},
        task="forecast",
        target="price",
        key=("symbol", "date"),
    ),
    "us_employment": DataSet(
        copied("us-employment.csv", "vega_datasets", "_data", "us-employment.csv"),
        {"target": "nonfarm"},
        task="forecast",
        target="nonfarm",
        key=("month",),
    ),
    "air_passengers": DataSet(pydataset("AirPassengers"), task="forecast", target="air_passengers", key=("time_at",)),
    "sunspots": DataSet(
        copied("sunspots.csv", "statsmodels", "datasets", "sunspots", "sunspots.csv"),
        task="forecast",
        target="sunactivity",
        key=("year_at",),
    ),
    "titanic": DataSet(
        pydataset("titanic"), {"target": "survived"}, task="binary", target="survived", without=("column_1",)
    ),
    "pima": DataSet(pydataset("Pima.tr2"), {"target": "type"}, task="binary", target="type", without=("column_1",)),
    "fair": DataSet(
        copied("fair.csv", "statsmodels", "datasets", "fair", "fair.csv"),
        {"target": "affairs"},
        task="regression",
        target="affairs",
    ),
    "heart": DataSet(
        copied("heart.csv", "statsmodels", "datasets", "heart", "heart.csv"),
        {"target": "censors"},
        task="binary",
        target="censors",
    ),
    "faithful_clusters": DataSet(
        copied("faithful.csv", "plotnine", "data", "faithful.csv"),
        {"task": "clustering"},
        task="clustering",
    ),
    "ugly_names": DataSet(ugly_names, {"target": "Order ?"}, task="binary", target="order_", without=("column_1",)),
    "german_export": DataSet(german_export, {"target": "Preis"}, task="regression", target="preis"),
    "leaky": DataSet(
        leaky,
        task="binary",
        target="is_gone",
        key=("customer_id",),
        without=("session", "country", "empty", "refund_after", "status_text"),
    ),
    "dates_to_predict": DataSet(dates_to_predict, {"target": "arrived_on"}, task="regression", target="arrived_on"),
    "tiny": DataSet(tiny, task="binary", target="default_"),
    "wide": DataSet(wide, task="binary", target="class"),
    "months": DataSet(months, task="binary", target="fraud", key=("payment_id",)),
    "constant_target": DataSet(constant_target, {"target": "target"}, refusal="the target is constant"),
    "nothing_but_identifiers": DataSet(nothing_but_identifiers, refusal="there is nothing to learn from"),
    "few_rows": DataSet(few_rows, refusal="there are too few rows"),
}
