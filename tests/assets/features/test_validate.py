"""Statistics of a batch against the champion's training rows: each failure for its cause, and blessed or held once."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from assets import blessings, ledger
from assets.errors import HeadraceError
from assets.evaluation.report import write_validation_report
from assets.features import validate
from assets.features.checks import statistics_result
from assets.features.feature_set import fit_schema
from assets.features.read import read_part
from assets.features.statistics import chance_index, population_stability_index, profile_of
from assets.features.validate import TrainingProfile, bless_batches, judge_statistics
from assets.home import Home
from assets.live import flip_live
from assets.monitoring.watch import _page_of_validation
from assets.records import Batch, DataValidation, FeatureSchema, Gate, LivePointer, ModelManifest, Provenance
from assets.settings import Settings
from assets.spec import ProductSpec
from assets.splits.service import make_split

Specs = Callable[..., ProductSpec]
START = datetime.fromisoformat("2024-01-01")
NUMBERS = ["a", "b", "c"]


def columns(rows: int, seed: int) -> pl.DataFrame:
    """Model columns: three numbers, one of them sometimes null, and a category."""
    random = np.random.default_rng(seed)
    frame = pl.DataFrame({name: random.normal(size=rows) for name in NUMBERS})
    return frame.with_columns(
        pl.when(pl.int_range(pl.len()) % 20 > 0).then(pl.col("c")).alias("c"),
        pl.Series("kind", random.choice(["shoes", "books"], rows)),
    )


@pytest.fixture(scope="module")
def profile() -> TrainingProfile:
    frame = columns(4000, 1)
    features = FeatureSchema(
        inputs={}, required=(), descriptions={}, row={}, columns=tuple((n, "number") for n in frame.columns),
        categories={},
    )  # fmt: skip
    return TrainingProfile("lightgbm-1", features, {name: profile_of(frame[name]) for name in frame.columns}, frame)


@pytest.fixture
def blocking(spec_of: Specs) -> ProductSpec:
    return spec_of({"validation.statistics.severity": "block"})


def failed(validation: DataValidation) -> set[tuple[str, str]]:
    return {(item.check, item.column) for item in validation.columns if item.verdict == "FAILED"}


def test_a_batch_like_the_training_rows_passes_and_says_so(blocking: ProductSpec, profile: TrainingProfile) -> None:
    validation, gate = judge_statistics(blocking, "b9", profile, columns(2000, 2))
    assert (validation.verdict, gate.verdict) == ("PASSED", "PASSED")
    assert gate.observed == "0 of 4 columns moved"
    assert {(item.check, item.column) for item in validation.columns} == {
        *(("psi", name) for name in (*NUMBERS, "kind")), *(("nulls", name) for name in (*NUMBERS, "kind")),
        ("new_categories", "kind"),
    }  # fmt: skip


def test_one_column_that_moved_is_a_season_and_half_of_them_are_drift(
    blocking: ProductSpec, profile: TrainingProfile
) -> None:
    one = columns(2000, 2).with_columns(pl.col("a") + 2)
    validation, gate = judge_statistics(blocking, "b9", profile, one)
    assert (validation.verdict, failed(validation)) == ("PASSED", set())
    assert str(gate.observed).startswith("1 of 4 columns moved, most: a ")
    assert [item.column for item in validation.columns if item.verdict == "WARNED"] == ["a"]
    validation, gate = judge_statistics(blocking, "b9", profile, one.with_columns(pl.col("b") * 4))
    assert failed(validation) == {("psi", "a"), ("psi", "b")}
    assert str(gate.observed).startswith("2 of 4 columns moved, most: a ")
    assert gate.verdict == "FAILED"


def test_swapped_columns_moved_both(blocking: ProductSpec, profile: TrainingProfile) -> None:
    wide = TrainingProfile(
        "lightgbm-1", profile.features, {**profile.columns, "b": profile_of(columns(4000, 1)["b"] * 100)},
        profile.sample,
    )  # fmt: skip
    batch = columns(2000, 2).with_columns(pl.col("b") * 100)
    assert judge_statistics(blocking, "b9", wide, batch)[0].verdict == "PASSED"
    swapped = batch.with_columns(a=pl.col("b"), b=pl.col("a"))
    assert failed(judge_statistics(blocking, "b9", wide, swapped)[0]) == {("psi", "a"), ("psi", "b")}


def test_a_column_that_lost_its_values_fails_alone(blocking: ProductSpec, profile: TrainingProfile) -> None:
    """20% null, 0% in training; the column that always had 5% may have 14%."""
    frame = columns(2000, 2)
    place = pl.int_range(pl.len())
    broken = frame.with_columns(
        pl.when(place % 5 > 0).then(pl.col("a")).alias("a"), pl.when(place % 100 < 86).then(pl.col("b")).alias("c")
    )
    validation, gate = judge_statistics(blocking, "b9", profile, broken)
    assert failed(validation) == {("nulls", "a")}
    assert gate.observed == "a: 20.0% null, 0.0% in training"
    # filled where training had gaps is no broken delivery
    assert judge_statistics(blocking, "b9", profile, frame.with_columns(c=pl.col("a")))[0].verdict == "PASSED"


def test_categories_that_training_has_not_seen_fail_and_are_named(
    blocking: ProductSpec, profile: TrainingProfile
) -> None:
    new = pl.when(pl.int_range(pl.len()) % 10 == 0).then(pl.lit("hats")).otherwise(pl.col("kind")).alias("kind")
    validation, gate = judge_statistics(blocking, "b9", profile, columns(2000, 2).with_columns(new))
    assert ("new_categories", "kind") in failed(validation)
    assert gate.observed == "kind: 10.0% of rows with categories that training has not seen (hats)"


def test_a_warning_holds_nothing(spec_of: Specs, profile: TrainingProfile) -> None:
    validation, gate = judge_statistics(spec_of(), "b9", profile, columns(2000, 2).with_columns(kind=pl.lit("hats")))
    assert (validation.verdict, gate.verdict) == ("WARNED", "WARNED")
    assert blessings.verdict_of([gate]) == "BLESSED"


def test_few_rows_move_by_chance_and_that_is_allowed_for(profile: TrainingProfile, blocking: ProductSpec) -> None:
    """Of batches of thirty rows from the same distribution one column in twenty is beyond the limit, not most."""
    limit = blocking.validation.statistics.max_psi
    batches = [columns(30, seed).select("a") for seed in range(100)]
    assert sum(population_stability_index(profile.columns["a"], batch["a"]) > limit for batch in batches) > 50
    narrow = TrainingProfile("lightgbm-1", profile.features, {"a": profile.columns["a"]}, profile.sample)
    verdicts = [judge_statistics(blocking, "b9", narrow, batch)[0].verdict for batch in batches]
    assert verdicts.count("FAILED") <= 5
    moved = [judge_statistics(blocking, "b9", narrow, batch + 3)[0].verdict for batch in batches]
    assert moved.count("FAILED") == 100
    assert chance_index(profile.columns["a"], 30_000) < 0.005


def test_the_page_tests_with_our_thresholds_and_leaves_out_columns_without_a_value(
    tmp_path: Path, spec_of: Specs
) -> None:
    """Evidently raises on an empty column; the verdict on all rows has named it."""
    current = columns(150, 2).with_columns(pl.lit(None, pl.Float64).alias("a"), pl.col("b") + 3)
    reference, path = columns(300, 1), tmp_path / "page.html"
    tests = write_validation_report(path, spec_of(), reference, current, dict.fromkeys(reference.columns, 0.03))
    assert {item.column for item in tests} == {"b", "c", "kind"}
    failed = {item.said.split(":")[0] for item in tests if not item.passed}
    assert failed == {"Value drift for b", "Column 'c' missing values"}
    assert "could not draw" not in path.read_text()
    assert write_validation_report(path, spec_of(), reference.select("a"), current.select("a"), {"a": 1.0}) == []


# --- in the lake ----------------------------------------------------------------------------------------------------


def features(batch: int, *, shift: float = 0.0, rows: int = 120) -> pl.DataFrame:
    random = np.random.default_rng(batch)
    at = [START + timedelta(days=30 * batch, minutes=300 * place) for place in range(rows)]
    return pl.DataFrame(
        {
            "order_id": np.arange(rows) + batch * 1000, "batch_id": [f"b{batch}"] * rows, "ordered_at": at,
            "known_at": at, "kind": random.choice(["shoes", "books"], rows), "size": random.normal(10, 2, rows) + shift,
            "pieces": random.integers(1, 9, rows) + int(shift), "ordered_local_at": at, "returned_at": at,
            "is_returned": random.random(rows) < 0.4,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def champion_home(
    tmp_path_factory: pytest.TempPathFactory, spec_of: Specs, manifest_of: Callable[..., ModelManifest]
) -> tuple[Home, ModelManifest]:
    """A lake with four batches that raw has blessed, of which the third drifted, and a champion as of the second."""
    home = Home(Settings(home=tmp_path_factory.mktemp("champion") / "home"))
    lake, spec = home.lake("toy"), spec_of()
    rows = pl.concat([features(1), features(2), features(3, shift=9), features(4)])

    def work(con: Any) -> None:
        con.register("given", rows.to_arrow())
        for name, dropped in (("toy", "returned_at, is_returned"), ("labels", "kind, size, pieces")):
            con.execute(f"create table lake.features.{name} as select * exclude ({dropped}) from given")
        con.unregister("given")
        for batch in ("b1", "b2", "b3", "b4"):
            ledger.append_batch(con, batch_of(batch))

    lake.transact(work)
    with lake.connect() as con:
        split = make_split(con, spec, "b2", "features-1")
        schema = fit_schema(spec, read_part(con, spec, split, "train"))
    manifest = manifest_of(split_id=split.split_id, features=schema, as_of="b2")

    def judged(con: Any) -> None:
        ledger.append_once(con, "splits", split.split_id, "b2", split)
        ledger.append_once(con, "models", manifest.model_id, "b2", manifest)

    lake.transact(judged)
    return home, manifest


def batch_of(name: str) -> Batch:
    return Batch(
        source="toy", batch_id=name, file_name=name, sha256=f"hash of {name}", size_bytes=1, status="LOADED",
        rows_loaded=120, loaded_at=START.astimezone(),
    )  # fmt: skip


def raw_word(home: Home, spec: ProductSpec, *names: str) -> None:
    """What raw says of batches before their features are there."""
    gates = [Gate(name=name, verdict="PASSED", observed="", threshold="") for name in ("anomalies", "schema")]

    def write(con: Any) -> None:
        for name in names:
            word = blessings.bless_data(
                spec, batch_of(name), gates, champion_id="", snapshot=3, provenance=Provenance(asked_by=spec.spec_hash)
            )
            blessings.write(con, word)

    home.lake("toy").transact(write)


def alive(home: Home, manifest: ModelManifest) -> None:
    flip_live(
        home.settings.home,
        LivePointer(
            product="toy", as_of="b2", model_id=manifest.model_id, bento="b", decision_id="d", offline_parity="p",
            latency_p50_ms=1, latency_p99_ms=1,
        ),
    )  # fmt: skip


def test_batches_are_held_against_the_champion_once_and_each_goes_its_way(
    champion_home: tuple[Home, ModelManifest], spec_of: Specs
) -> None:
    home, manifest = champion_home
    lake = home.lake("toy")
    spec = spec_of({"validation.statistics.severity": "block", "monitoring": {"report_rows": 100, "report_columns": 2}})
    raw_word(home, spec, "b1", "b3", "b4")

    def words() -> dict[str, tuple[str, str]]:
        with lake.connect() as con:
            found = {batch: blessings.data_blessing(con, spec, batch) for batch in ("b1", "b3", "b4")}
        assert all(item and [gate.name for gate in item.gates] == ["anomalies", "schema", "statistics"]
                   for item in found.values())  # fmt: skip
        return {batch: (item.verdict, str(item.gates[-1].observed)) for batch, item in found.items() if item}

    bless_batches(home, spec, ["b1", "b3", "b4"], provenance=Provenance())
    assert set(words().values()) == {("BLESSED", "no champion yet")}

    alive(home, manifest)
    bless_batches(home, spec, ["b1", "b3", "b4"], provenance=Provenance())
    said = words()
    assert said["b1"] == ("BLESSED", "no champion yet"), "the champion has learned from it: judged before, not again"
    assert said["b3"][0] == "NOT_BLESSED"
    assert "columns moved, most: " in said["b3"][1]
    assert "size " in said["b3"][1]
    assert said["b4"][0] == "BLESSED"
    assert "0 of 5 columns moved" in said["b4"][1]

    snapshot = lake.snapshot()
    bless_batches(home, spec, ["b1", "b3", "b4"], provenance=Provenance(asked_by="again"))
    assert lake.snapshot() == snapshot

    with lake.connect() as con:
        assert blessings.held_batches(con).keys() == {"b3"}
        with pytest.raises(HeadraceError, match="batch b3 is held back"):
            blessings.require_data(con, spec, "b3", where="split")
        records = {item.batch_id: item for _, item in ledger.records(con, "validations", DataValidation)}
        page = _page_of_validation(con, home, "b4", manifest.model_id)
        assert _page_of_validation(con, home, "b4", "another champion") is None
    assert page is not None
    assert page.name == "validation.html"
    assert "could not draw" not in page.read_text()
    tests = [item for item in records["b3"].columns if item.check == "evidently"]
    assert len({item.column for item in tests}) == 2
    assert any(item.verdict == "WARNED" and "size" in str(item.observed) for item in tests)

    result = statistics_result(home, spec, ["b3", "b4"])
    assert (result.passed, result.severity.value) == (False, "WARN")
    assert "held back: b3" in str(result.description)
    assert result.metadata["evidently_report"].value.endswith("/validation.html")
    assert statistics_result(home, spec, ["b3"]).severity.value == "ERROR"
    assert statistics_result(home, spec, ["b4"]).passed


def test_a_batch_that_the_champion_was_trained_on_passes_and_says_so(
    champion_home: tuple[Home, ModelManifest], spec_of: Specs
) -> None:
    home, manifest = champion_home
    spec = spec_of({"seed": 5})
    raw_word(home, spec, "b1")
    alive(home, manifest)
    bless_batches(home, spec, ["b1"], provenance=Provenance())
    with home.lake("toy").connect() as con:
        word = blessings.require_data(con, spec, "b1", where="split")
    assert word.gates[-1].observed == f"the champion {manifest.model_id} was trained on this batch"


def test_without_a_word_of_raw_nothing_is_blessed(champion_home: tuple[Home, ModelManifest], spec_of: Specs) -> None:
    home, _ = champion_home
    spec = spec_of({"seed": 6})
    bless_batches(home, spec, ["b4"], provenance=Provenance())
    with home.lake("toy").connect() as con:
        assert blessings.data_blessing(con, spec, "b4") is None
    assert not Path(home.settings.reports / "toy" / "b9").exists()
    vars(validate)["_PROFILES"].clear()
