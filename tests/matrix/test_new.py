"""What `new --yes` concludes of many data sets, and that the models it writes run; nothing is written to disk."""

from pathlib import Path

import polars as pl
import pytest

from assets.errors import HeadraceError
from assets.spec import ProductSpec, parse_spec
from orchestration.new.conclude import Conclusions, conclude
from orchestration.new.models import feature_columns, key_names, label_columns, label_name
from orchestration.new.names import file_pattern
from orchestration.new.spec_file import spec_text
from orchestration.new.wishes import Wishes
from tests.matrix.built import build
from tests.matrix.sets import SETS, DataSet
from tests.profiles import assert_loads_as_profiled, profile_of


def made(item: DataSet, folder: Path) -> list[Path]:
    """The files of a data set; the same ones each time."""
    folder.joinpath("files").mkdir(exist_ok=True)
    return item.make(folder / "files")


def concluded(name: str, item: DataSet, folder: Path) -> Conclusions:
    files = made(item, folder)
    pattern, _ = file_pattern([file.name for file in files])
    return conclude(name, profile_of(folder, *files), pattern, Wishes(**item.options))


def rows_of(found: Conclusions, spec: ProductSpec) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Feature and label rows as the models make them, with the contract's types."""
    con, features, labels = build(found)
    for table, columns in ((features, feature_columns(found)), (labels, label_columns(found))):
        if table is not None:
            made = {str(row[0]): str(row[1]) for row in con.execute(f"describe {table}").fetchall()}
            assert made == columns
    assert set(spec.features.inputs) <= set(feature_columns(found))
    return con.table(features).pl(), con.table(labels).pl() if labels is not None else None


@pytest.mark.parametrize("name", [name for name, item in SETS.items() if not item.refusal])
def test_a_data_set_becomes_a_valid_product(name: str, tmp_path: Path) -> None:
    item = SETS[name]
    found = concluded(name, item, tmp_path)
    spec = parse_spec(spec_text(found), origin=f"{name}.yaml")
    assert (spec.task, key_names(found)) == (item.task, item.key)
    assert (spec.label.column if spec.label else "") == item.target
    assert not set(item.without) & set(spec.features.inputs)
    assert set(item.without) <= set(found.left_out)
    features, labels = rows_of(found, spec)
    assert features.height == found.profile.rows
    assert_loads_as_profiled(found.profile, spec.source, tmp_path, made(item, tmp_path))
    assert features.select(key_names(found)).is_unique().all() or not found.key
    if labels is not None:
        assert labels.height == features.height
        assert labels[label_name(found)].drop_nulls().len() == found.label.rows
        assert labels[label_name(found)].drop_nulls().n_unique() > 1


@pytest.mark.parametrize("name", [name for name, item in SETS.items() if item.refusal])
def test_what_can_not_be_learned_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(HeadraceError, match=SETS[name].refusal) as refusal:
        concluded(name, SETS[name], tmp_path)
    assert refusal.value.fix


def test_a_forecast_uses_nothing_younger_than_its_horizon(tmp_path: Path) -> None:
    found = concluded("air_passengers", SETS["air_passengers"], tmp_path)
    spec = parse_spec(spec_text(found), origin="air_passengers.yaml")
    features, labels = rows_of(found, spec)
    assert (features["known_at"].drop_nulls() <= features.filter(pl.col("known_at").is_not_null())["asked_at"]).all()
    assert labels is not None
    both = features.join(labels, on="time_at").sort("time_at")
    # twelve months ago, and three months ago
    assert both["air_passengers_season_ago"].to_list()[12:] == both["air_passengers"].to_list()[:-12]
    assert both["air_passengers_last_known"].to_list()[3:] == both["air_passengers"].to_list()[:-3]
    assert both["air_passengers_recent_mean"][14] == pytest.approx(both["air_passengers"][:12].mean())


def test_several_series_do_not_see_each_other(tmp_path: Path) -> None:
    found = concluded("stocks", SETS["stocks"], tmp_path)
    features, labels = rows_of(found, parse_spec(spec_text(found), origin="stocks.yaml"))
    assert labels is not None
    for _, rows in features.join(labels, on=["symbol", "date"]).sort("date").group_by("symbol"):
        assert rows["price_season_ago"].to_list()[12:] == rows["price"].to_list()[:-12]


def test_dates_become_days_since_the_earliest(tmp_path: Path) -> None:
    found = concluded("dates_to_predict", SETS["dates_to_predict"], tmp_path)
    _, labels = rows_of(found, parse_spec(spec_text(found), origin="x.yaml"))
    assert labels is not None
    assert labels["arrived_on"].min() == 0
    assert any("the days since its earliest are predicted" in sentence for _, sentence in found.said)


def test_columns_that_come_in_other_ways_are_read(tmp_path: Path) -> None:
    leaky = concluded("leaky", SETS["leaky"], tmp_path)
    kinds = {column.name: column.kind for column in leaky.profile.columns}
    assert kinds == {
        "customer_id": "integer", "signed_up": "timestamp", "age": "integer", "city": "category", "note": "text",
        "session": "category", "country": "category", "empty": "category", "refund_after": "integer",
        "status_text": "category", "amount": "number", "is_gone": "boolean",
    }  # fmt: skip
    spec = parse_spec(spec_text(leaky), origin="leaky.yaml")
    assert {name: item.kind for name, item in spec.features.fitted.items()} == {
        "city_share": "frequency",
        "note_words": "text",
    }
    assert set(spec.wants_label.outcomes) == {"refund_after", "status_text"}
    assert spec.features.row["signed_up_year"].sql == 'CAST(EXTRACT(YEAR FROM "signed_up") AS INT)'
