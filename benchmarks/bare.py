"""The rival of `journey.py`: the flights cycle as somebody would script it, without a platform.

DuckDB, Polars, LightGBM and scikit-learn in one process; tables are kept in a DuckDB file, so a month adds to what
is there. It makes the numbers that the platform makes (same SQL, same boundaries, same parameters), and nothing
else: no ledger, gate, check, report, picture or server. Metrics and PSI are the platform's own formulas, imported.

    bare.py PLAN    PLAN is the JSON file that journey.py writes; the answer is JSON on standard output
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import lightgbm as lgb
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from assets.evaluation.metrics import binary_metrics
from assets.features.statistics import population_stability_index

Matrix = NDArray[np.float64]

KEY = ("scheduled_at", "carrier", "flight_number")
CATEGORIES = ("carrier", "origin", "destination", "plane_type", "plane_manufacturer", "plane_engine")
# in the order in which the models see them
INPUTS = (
    "carrier", "origin", "destination", "scheduled_arrival_minute", "distance_miles", "plane_type",
    "plane_manufacturer", "plane_engine", "plane_seats", "plane_engines", "temperature_f", "dew_point_f",
    "humidity_percent", "wind_direction_degrees", "wind_speed_mph", "precipitation_inches", "pressure_millibars",
    "visibility_miles", "route_flights_30d", "route_late_share_30d", "route_delay_minutes_24h",
    "carrier_late_share_30d", "carrier_late_share_6h", "carrier_delay_minutes_6h", "airport_late_share_24h",
    "airport_late_share_3h", "airport_delay_minutes_3h", "arrival_airport_late_share_24h",
    "arrival_airport_delay_minutes_6h",
)  # fmt: skip
MIN_CATEGORY_ROWS = 20

FLIGHTS_CSV = {
    "year": "BIGINT", "month": "BIGINT", "day": "BIGINT", "dep_time": "BIGINT", "sched_dep_time": "BIGINT",
    "dep_delay": "BIGINT", "arr_time": "BIGINT", "sched_arr_time": "BIGINT", "arr_delay": "BIGINT",
    "carrier": "VARCHAR", "flight": "BIGINT", "tailnum": "VARCHAR", "origin": "VARCHAR", "dest": "VARCHAR",
    "air_time": "BIGINT", "distance": "BIGINT", "hour": "BIGINT", "minute": "BIGINT", "time_hour": "TIMESTAMPTZ",
}  # fmt: skip
WEATHER_CSV = {
    "origin": "VARCHAR", "year": "BIGINT", "month": "BIGINT", "day": "BIGINT", "hour": "BIGINT", "temp": "DOUBLE",
    "dewp": "DOUBLE", "humid": "DOUBLE", "wind_dir": "DOUBLE", "wind_speed": "DOUBLE", "wind_gust": "DOUBLE",
    "precip": "DOUBLE", "pressure": "DOUBLE", "visib": "DOUBLE", "time_hour": "TIMESTAMPTZ",
}  # fmt: skip
PLANES_CSV = {
    "tailnum": "VARCHAR", "year": "BIGINT", "type": "VARCHAR", "manufacturer": "VARCHAR", "model": "VARCHAR",
    "engines": "BIGINT", "seats": "BIGINT", "speed": "BIGINT", "engine": "VARCHAR",
}  # fmt: skip

TABLES = """
create table flights (
    batch_id varchar, carrier varchar, flight_number bigint, tail_number varchar, origin varchar, destination varchar,
    scheduled_at timestamp, scheduled_local_at timestamp, scheduled_arrival_minute bigint, distance_miles bigint,
    arrival_delay_minutes bigint, landed_at timestamp);
create table weather (
    origin varchar, observed_at timestamp, known_at timestamp, temperature_f double, dew_point_f double,
    humidity_percent double, wind_direction_degrees double, wind_speed_mph double, precipitation_inches double,
    pressure_millibars double, visibility_miles double);
"""

CLEAN_FLIGHTS = """
insert into flights
with renamed as (
    select
        row_number() over () as place,
        regexp_extract(filename, '(\\d{4}-\\d{2})\\.csv$', 1) as batch_id,
        carrier, flight as flight_number, tailnum as tail_number, origin, dest as destination,
        date_trunc('hour', time_hour at time zone 'UTC') + to_minutes(minute) as scheduled_at,
        make_timestamp(year, month, day, hour, minute, 0) as scheduled_local_at,
        (sched_arr_time // 100) * 60 + sched_arr_time % 100 as scheduled_arrival_minute,
        distance as distance_miles,
        arr_delay as arrival_delay_minutes,
        case when arr_delay is not null then
            date_trunc('hour', time_hour at time zone 'UTC') + to_minutes(minute)
            + to_minutes((dep_delay + air_time + 60)::bigint)
        end as landed_at
    from source
)
select * exclude (place) from renamed
anti join (select scheduled_at, carrier, flight_number from flights) as kept
    using (scheduled_at, carrier, flight_number)
qualify row_number() over (partition by scheduled_at, carrier, flight_number order by place) = 1
"""

CLEAN_WEATHER = """
insert into weather
with renamed as (
    select
        row_number() over () as place, origin,
        time_hour at time zone 'UTC' as observed_at,
        (time_hour at time zone 'UTC') + interval 1 hour as known_at,
        temp, dewp, humid, wind_dir, case when wind_speed < 200 then wind_speed end, precip, pressure, visib
    from source
)
select * exclude (place) from renamed
anti join (select origin, observed_at from weather) as kept using (origin, observed_at)
qualify row_number() over (partition by origin, observed_at order by place) = 1
"""

CLEAN_PLANES = """
create or replace table planes as
select
    tailnum as tail_number, type as plane_type, manufacturer as plane_manufacturer, engine as plane_engine,
    year as plane_year, seats as plane_seats, engines as plane_engines
from source
qualify row_number() over (partition by tailnum) = 1
"""


@dataclass
class Clock:
    """CPU and wall seconds of each phase of this process."""

    phases: dict[str, list[float]] = field(default_factory=lambda: {"start": [time.process_time(), 0.0]})

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add what happens inside to a phase."""
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        spent = self.phases.setdefault(name, [0.0, 0.0])
        spent[0] += time.process_time() - cpu
        spent[1] += time.perf_counter() - wall


@dataclass(frozen=True)
class TrainingRows:
    """Encoded rows, shape (rows, columns), with labels of 0 and 1; `held` are the validation rows."""

    names: list[str]
    train: Matrix
    labels: NDArray[np.int_]
    held: Matrix
    held_labels: NDArray[np.int_]

    @property
    def places(self) -> list[int]:
        """Places of the category columns."""
        return [self.names.index(name) for name in CATEGORIES]


@dataclass(frozen=True)
class Model:
    """A fitted model: how it scores an encoded matrix, and what it was made from."""

    algorithm: str
    as_of: str
    categories: dict[str, list[str]]
    score: Callable[[Matrix], Matrix]
    reference: pl.DataFrame
    content: str
    test_scores: Matrix | None = None


# ---------------------------------------------------------------------------------------------------------- data


def load(con: duckdb.DuckDBPyConnection, deliveries: Path, months: Sequence[str]) -> None:
    """Read the CSV files of these months, type, rename, deduplicate, and compute their features."""
    if not con.execute("select count(*) from duckdb_tables() where table_name = 'flights'").fetchall()[0][0]:
        con.execute(TABLES)
        _source(con, [deliveries / "planes.csv"], PLANES_CSV)
        con.execute(CLEAN_PLANES)
    _source(con, [deliveries / f"weather_{month}.csv" for month in months], WEATHER_CSV)
    con.execute(CLEAN_WEATHER)
    _source(con, [deliveries / f"flights_{month}.csv" for month in months], FLIGHTS_CSV)
    con.execute(CLEAN_FLIGHTS)
    features = features_sql(months)
    con.execute(f"create table if not exists features as select * from ({features}) limit 0")
    con.execute(f"insert into features {features}")


def _source(con: duckdb.DuckDBPyConnection, files: Sequence[Path], columns: dict[str, str]) -> None:
    names = ", ".join(f"'{path}'" for path in files)
    con.execute(
        f"""create or replace temp view source as select * from read_csv([{names}], columns={columns}, header=true,
        auto_detect=false, delim=',', quote='"', escape='"', nullstr=['', 'NA'], filename=true)"""
    )


def history(name: str, by: Sequence[str], windows: dict[str, str]) -> str:
    """Sums over what had landed at an entity by each flight's departure: the SQL of dbt's macro of the same name."""
    entity, sums = ", ".join(by), ("flights", "late", "delay")
    differences = ", ".join(
        f"coalesce(newest.{item}, 0) - coalesce({window}.{item}, 0) as {name}_{item}_{window}"
        for window in windows
        for item in sums
    )
    joins = " ".join(
        f"asof left join {name}_running as {window} on {_same(by, window)} "
        f"and (spine.scheduled_at - interval '{interval}') >= {window}.landed_at"
        for window, interval in windows.items()
    )
    return f"""{name}_running as (
        select {entity}, landed_at,
            (sum(sum(1)) over entity)::bigint as flights, (sum(sum(is_late)) over entity)::bigint as late,
            (sum(sum(arrival_delay_minutes)) over entity)::bigint as delay
        from landed group by {entity}, landed_at
        window entity as (
            partition by {entity} order by landed_at rows between unbounded preceding and current row)
    ),
    {name} as (
        select spine.scheduled_at, spine.carrier, spine.flight_number, {differences}
        from spine
        asof left join {name}_running as newest on {_same(by, "newest")} and spine.scheduled_at >= newest.landed_at
        {joins}
    )"""


def _same(by: Sequence[str], alias: str) -> str:
    return " and ".join(f"spine.{column} = {alias}.{column}" for column in by)


def features_sql(months: Sequence[str]) -> str:
    """Features and labels of the flights of these months, each with what was known at its scheduled departure."""
    batches = ", ".join(f"'{month}'" for month in months)
    windows = {"last_30d": "30 days", "last_24h": "24 hours", "last_6h": "6 hours", "last_3h": "3 hours"}

    def of(name: str, by: Sequence[str], *chosen: str) -> str:
        return history(name, by, {window: windows[window] for window in chosen})

    return f"""
    with spine as (select * from flights where batch_id in ({batches})),
    landed as (
        select carrier, origin, destination, landed_at, arrival_delay_minutes,
            (arrival_delay_minutes >= 15)::int as is_late
        from flights
        where landed_at >= (select min(scheduled_at) - interval 31 days from spine)
          and landed_at <= (select max(scheduled_at) from spine)
    ),
    {of("route", ["origin", "destination"], "last_30d", "last_24h")},
    {of("carrier_history", ["carrier"], "last_30d", "last_6h")},
    {of("airport", ["origin"], "last_24h", "last_3h")},
    {of("arrival_airport", ["destination"], "last_24h", "last_6h")},
    weather_known as (
        select spine.scheduled_at, spine.carrier, spine.flight_number, weather.* exclude (origin, observed_at, known_at)
        from spine asof join weather on spine.origin = weather.origin and spine.scheduled_at >= weather.known_at
        where spine.scheduled_at - weather.known_at < interval 6 hours
    )
    select
        spine.batch_id, spine.carrier, spine.flight_number, spine.origin, spine.destination, spine.scheduled_at,
        spine.scheduled_local_at, spine.landed_at, spine.arrival_delay_minutes >= 15 as is_late,
        spine.scheduled_arrival_minute, spine.distance_miles,
        plane_type, plane_manufacturer, plane_engine, plane_year, plane_seats, plane_engines,
        temperature_f, dew_point_f, humidity_percent, wind_direction_degrees, wind_speed_mph, precipitation_inches,
        pressure_millibars, visibility_miles,
        route_flights_last_30d::bigint as route_flights_30d,
        route_late_last_30d / nullif(route_flights_last_30d, 0) as route_late_share_30d,
        route_delay_last_24h / nullif(route_flights_last_24h, 0) as route_delay_minutes_24h,
        carrier_history_late_last_30d / nullif(carrier_history_flights_last_30d, 0) as carrier_late_share_30d,
        carrier_history_late_last_6h / nullif(carrier_history_flights_last_6h, 0) as carrier_late_share_6h,
        carrier_history_delay_last_6h / nullif(carrier_history_flights_last_6h, 0) as carrier_delay_minutes_6h,
        airport_late_last_24h / nullif(airport_flights_last_24h, 0) as airport_late_share_24h,
        airport_late_last_3h / nullif(airport_flights_last_3h, 0) as airport_late_share_3h,
        airport_delay_last_3h / nullif(airport_flights_last_3h, 0) as airport_delay_minutes_3h,
        arrival_airport_late_last_24h / nullif(arrival_airport_flights_last_24h, 0) as arrival_airport_late_share_24h,
        arrival_airport_delay_last_6h / nullif(arrival_airport_flights_last_6h, 0) as arrival_airport_delay_minutes_6h
    from spine
    left join planes using (tail_number)
    left join weather_known using (scheduled_at, carrier, flight_number)
    left join route using (scheduled_at, carrier, flight_number)
    left join carrier_history using (scheduled_at, carrier, flight_number)
    left join airport using (scheduled_at, carrier, flight_number)
    left join arrival_airport using (scheduled_at, carrier, flight_number)
    """


def read(con: duckdb.DuckDBPyConnection, condition: str, values: Sequence[Any]) -> pl.DataFrame:
    """Rows of the feature table, sorted by key."""
    names = dict.fromkeys([*KEY, *INPUTS, "scheduled_local_at", "plane_year"])
    return con.execute(
        f"select {', '.join(names)}, is_late::int as label from features where {condition} order by {', '.join(KEY)}",
        values,
    ).pl()


def boundaries(con: duckdb.DuckDBPyConnection, plan: dict[str, Any], as_of: str) -> tuple[Any, Any, Any]:
    """First event, where validation begins, where the test month begins."""
    (test_from,) = con.execute(
        "select min(scheduled_at) from features where batch_id = ? and is_late is not null", [as_of]
    ).fetchall()[0]
    first, middle = con.execute(
        f"""select min(scheduled_at), quantile_disc(scheduled_at, ?) from features
        where batch_id <= ? and is_late is not null and scheduled_at < ? and {_known(plan)} < ?""",
        [1 - plan["validation_share"], as_of, test_from, test_from],
    ).fetchall()[0]
    return first, middle, test_from


def _known(plan: dict[str, Any]) -> str:
    return f"(landed_at + interval {int(plan['label_delay_minutes'] * 60)} seconds)"


def model_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns of a model before encoding: inputs and row features."""
    hour = pl.col("scheduled_local_at").dt.hour().cast(pl.Int32)
    minute = hour * 60 + pl.col("scheduled_local_at").dt.minute().cast(pl.Int32)
    return frame.select(
        *INPUTS,
        minute.alias("departure_minute"),
        hour.alias("departure_hour"),
        pl.col("scheduled_local_at").dt.weekday().cast(pl.Int32).alias("weekday"),
        pl.col("scheduled_local_at").dt.day().cast(pl.Int32).alias("day_of_month"),
        (pl.col("scheduled_local_at").dt.year() - pl.col("plane_year")).alias("plane_age_years"),
        ((pl.col("scheduled_arrival_minute") - minute + 1440) % 1440).alias("scheduled_clock_minutes"),
        (pl.col("temperature_f") - pl.col("dew_point_f")).alias("dew_point_gap_f"),
    )


def fit_categories(columns: pl.DataFrame) -> dict[str, list[str]]:
    """Category values seen often enough in training, sorted; a code is a place in the list."""
    floor = min(MIN_CATEGORY_ROWS, max(1, columns.height // 100))
    return {
        name: columns[name].value_counts().filter(pl.col("count") >= floor)[name].drop_nulls().sort().to_list()
        for name in CATEGORIES
    }


def encode(columns: pl.DataFrame, categories: dict[str, list[str]]) -> Matrix:
    """Numbers, shape (rows, columns); unknown categories and nulls are NaN."""
    codes = [
        pl.col(name).cast(pl.Enum(values), strict=False).to_physical().cast(pl.Float64).fill_null(float("nan"))
        for name, values in categories.items()
    ]
    numbers = [
        pl.col(name).cast(pl.Float64).fill_null(float("nan")) for name in columns.columns if name not in categories
    ]
    encoded = columns.with_columns(codes + numbers)
    return np.ascontiguousarray(encoded.to_numpy(), dtype=np.float64)


# -------------------------------------------------------------------------------------------------------- models


def fit_all(
    plan: dict[str, Any], as_of: str, train: pl.DataFrame, validation: pl.DataFrame
) -> tuple[list[Model], TrainingRows]:
    """Baseline, logistic regression and LightGBM, and the rows they were fitted on."""
    reference = model_columns(train)
    categories = fit_categories(reference)
    held = encode(model_columns(validation), categories)
    rows = TrainingRows(reference.columns, encode(reference, categories), _labels(train), held, _labels(validation))

    def model(algorithm: str, score: Callable[[Matrix], Matrix], content: str) -> Model:
        return Model(algorithm, as_of, categories, score, reference, content)

    share = float(rows.labels.mean())
    linear = _logistic(plan["logistic_regression"], categories, rows)
    weights = json.dumps({"intercept": linear[-1].intercept_.tolist(), "weights": linear[-1].coef_.tolist()})
    booster = _boosted(plan, rows)
    best = booster.best_iteration

    def by_linear(matrix: Matrix) -> Matrix:
        return np.asarray(linear.predict_proba(matrix.astype(np.float32))[:, 1], dtype=np.float64)

    def by_booster(matrix: Matrix) -> Matrix:
        return np.asarray(booster.predict(matrix, num_iteration=best, num_threads=plan["threads"]), dtype=np.float64)

    return [
        model("baseline", lambda matrix: np.full(len(matrix), share), json.dumps(share)),
        model("logistic_regression", by_linear, weights),
        model("lightgbm", by_booster, booster.model_to_string(num_iteration=best)),
    ], rows


def _logistic(params: dict[str, Any], categories: dict[str, list[str]], rows: TrainingRows) -> Any:
    numeric = [place for place in range(len(rows.names)) if place not in set(rows.places)]
    codes = [np.arange(-1, len(categories[name]), dtype=np.float32) for name in CATEGORIES]
    one_hot = OneHotEncoder(categories=codes, handle_unknown="ignore", sparse_output=False, dtype=np.float32)
    linear = make_pipeline(
        ColumnTransformer(
            [
                ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numeric),
                (
                    "categories",
                    make_pipeline(SimpleImputer(strategy="constant", fill_value=-1.0), one_hot),
                    rows.places,
                ),
            ]
        ),
        LogisticRegression(
            C=1 / params["l2"], solver="newton-cholesky", max_iter=params["max_iterations"], tol=params["tolerance"]
        ),
    )
    return linear.fit(rows.train.astype(np.float32), rows.labels)


def _boosted(plan: dict[str, Any], rows: TrainingRows) -> Any:
    params = dict(plan["lightgbm"])
    rounds, patience = params.pop("max_rounds"), params.pop("early_stopping_rounds")
    training = lgb.Dataset(
        rows.train, rows.labels, feature_name=rows.names, categorical_feature=rows.places,
        params={"max_bin": params["max_bin"]},
    )  # fmt: skip
    return lgb.train(
        {
            **params, "objective": "binary", "metric": "binary_logloss", "verbosity": -1, "seed": plan["seed"],
            "num_threads": plan["threads"], "deterministic": True, "force_row_wise": True,
        },
        training, num_boost_round=rounds, valid_sets=[lgb.Dataset(rows.held, rows.held_labels, reference=training)],
        callbacks=[lgb.early_stopping(patience, verbose=False)],
    )  # fmt: skip


def _labels(rows: pl.DataFrame) -> NDArray[np.int_]:
    return rows["label"].to_numpy().astype(np.int64)


# ------------------------------------------------------------------------------------------------------- a month


def month(
    con: duckdb.DuckDBPyConnection, plan: dict[str, Any], as_of: str, champion: Model | None, clock: Clock
) -> tuple[dict[str, Any], Model]:
    """Score the month with the champion, train, judge, measure drift; returns the figures and who is champion then."""
    work, threshold = Path(plan["work"]), plan["threshold"]
    figures: dict[str, Any] = {"as_of": as_of}
    with clock.phase("data"):
        batch = read(con, "batch_id = ?", [as_of])
        current = model_columns(batch)
        labelled = batch["label"].is_not_null().to_numpy()
        labels = batch["label"].drop_nulls().to_numpy().astype(np.int64)
        scores = champion.score(encode(current, champion.categories)) if champion else None
        if scores is not None:
            batch.select(KEY).with_columns(pl.Series("probability", scores)).write_parquet(work / f"{as_of}.parquet")
        first, middle, test_from = boundaries(con, plan, as_of)
    with clock.phase("training"):
        condition = (
            f"is_late is not null and batch_id <= ? and scheduled_at >= ? and scheduled_at < ? and {_known(plan)} < ?"
        )
        train = read(con, condition, [as_of, first, middle, test_from])
        validation = read(con, condition, [as_of, middle, test_from, test_from])
        models, rows = fit_all(plan, as_of, train, validation)
        for model in models:
            (work / f"{model.algorithm}_{as_of}.txt").write_text(model.content)
    with clock.phase("judging"):
        test = encode(current, models[0].categories)[labelled]
        tested = {model.algorithm: model.score(test) for model in models}
        metrics = {
            model.algorithm: {
                "validation": binary_metrics(rows.held_labels, model.score(rows.held), threshold=threshold),
                "test": binary_metrics(labels, tested[model.algorithm], threshold=threshold),
            }
            for model in models
        }
        best = max(models[1:], key=lambda model: metrics[model.algorithm]["validation"]["roc_auc"])
        figures |= {"rows": [len(train), len(validation), len(labels)], "metrics": metrics, "best": best.algorithm}
        gain = 1.0
        if champion and scores is not None and champion.test_scores is not None:
            figures["champion"] = binary_metrics(labels, scores[labelled], threshold=threshold)
            gain = metrics[best.algorithm]["test"]["roc_auc"] - figures["champion"]["roc_auc"]
            figures["drift"] = {
                name: population_stability_index(champion.reference[name], current[name]) for name in current.columns
            }
            figures["score_drift"] = population_stability_index(pl.Series(champion.test_scores), pl.Series(scores))
    figures["promoted"] = gain > plan["min_improvement"]
    if champion and not figures["promoted"]:
        return figures, champion
    return figures, replace(best, test_scores=tested[best.algorithm])


def main() -> None:
    """All cycles of the plan."""
    clock = Clock()
    plan = json.loads(Path(sys.argv[1]).read_text())
    work = Path(plan["work"])
    work.mkdir(parents=True, exist_ok=True)
    champion: Model | None = None
    found = []
    with duckdb.connect(work / "flights.duckdb", config={"threads": plan["threads"]}) as con:
        con.execute("set timezone='UTC'")
        for months in plan["cycles"]:
            with clock.phase("data"):
                load(con, Path(plan["deliveries"]), months)
            figures, champion = month(con, plan, months[-1], champion, clock)
            found.append(figures)
    (work / "figures.json").write_text(json.dumps(found))
    print(json.dumps({"months": found, "phases": clock.phases}))


if __name__ == "__main__":
    main()
