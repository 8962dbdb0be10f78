"""The ledger: rows are appended once, in the transaction of what they speak of, and read in order."""

import itertools
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from assets import ledger
from assets.lake import RECORD_TABLES, Lake
from assets.records import Alert, Batch, Retrain, SplitManifest

NUMBERS = itertools.count()


@pytest.fixture
def cause() -> str:
    """A cause that no other test has used."""
    return f"ledger-{next(NUMBERS)}"


def retrain(cause: str, batch_id: str = "b1") -> Retrain:
    return Retrain(product="toy", cause=cause, batch_id=batch_id)


def retrains(lake: Lake, cause: str) -> list[Retrain]:
    with lake.connect() as con:
        return [item for _, item in ledger.records(con, "retrains", Retrain) if item.cause == cause]


def test_a_record_is_appended_once_by_its_id(lake: Lake, cause: str) -> None:
    said = [
        lake.transact(lambda con: ledger.append_once(con, "retrains", cause, "b1", retrain(cause))) for _ in range(3)
    ]
    assert said == [True, False, False]
    assert retrains(lake, cause) == [retrain(cause)]


def test_the_newest_word_is_the_last_one_also_after_a_clock_was_set_back(
    lake: Lake, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: slots, blessings and overrides go by the newest record, and an earlier clock put it before others."""
    start = datetime.now(UTC)
    for number, minutes in enumerate((10, -10, 0)):
        monkeypatch.setattr(ledger, "now", lambda minutes=minutes: start + timedelta(minutes=minutes))
        ledger.append_to_lake(lake, "retrains", [(f"{cause}{number}", "b", retrain(cause, f"b{number}"))])
    assert [item.batch_id for item in retrains(lake, cause)] == ["b0", "b1", "b2"]


def test_once_holds_inside_one_transaction_too(lake: Lake, cause: str) -> None:
    assert ledger.append_to_lake(lake, "retrains", [(cause, "b1", retrain(cause))] * 3) == 1
    assert len(retrains(lake, cause)) == 1


def test_the_first_record_of_an_id_stays(lake: Lake, cause: str) -> None:
    ledger.append_to_lake(lake, "retrains", [(cause, "b1", retrain(cause, "b1"))])
    ledger.append_to_lake(lake, "retrains", [(cause, "b2", retrain(cause, "b2"))])
    assert [item.batch_id for item in retrains(lake, cause)] == ["b1"]


def test_a_record_goes_with_the_transaction_it_is_in(lake: Lake, cause: str) -> None:
    def work(con: duckdb.DuckDBPyConnection) -> None:
        ledger.append_once(con, "retrains", cause, "b1", retrain(cause))
        raise KeyError

    with pytest.raises(KeyError):
        lake.transact(work)
    assert retrains(lake, cause) == []


def test_the_latest_record_of_a_batch_is_the_newest_of_that_batch(lake: Lake, cause: str) -> None:
    for number, batch_id in enumerate([f"{cause}-a", f"{cause}-b", f"{cause}-a"]):
        ledger.append_to_lake(lake, "retrains", [(f"{cause}-{number}", batch_id, retrain(f"{number}", batch_id))])
    with lake.connect() as con:
        assert ledger.latest(con, "retrains", Retrain, batch_id=f"{cause}-a") == retrain("2", f"{cause}-a")
        assert ledger.latest(con, "retrains", Retrain, batch_id=f"{cause}-c") is None


def test_an_alert_is_written_once_per_cause_whatever_its_words(lake: Lake, cause: str) -> None:
    """A rerun finds the same cause with slightly other numbers in its message."""
    alerts = [
        Alert(product="toy", kind="drift", batch_id="b1", cause=cause, message=f"PSI is 0.{number}")
        for number in (3, 4)
    ]
    other = Alert(product="toy", kind="degradation", batch_id="b1", cause=cause, message="fell")
    assert [lake.transact(lambda con, item=item: ledger.append_alerts(con, [item])) for item in [*alerts, other]] == [
        1, 0, 1,
    ]  # fmt: skip


def test_a_text_with_quotes_is_kept_as_it_is(lake: Lake, cause: str) -> None:
    text = cause + ' \'; drop table lake.ledger.retrains; -- "x" \U0001f600 \n'
    ledger.append_to_lake(lake, "retrains", [(text, text, retrain(text, text))])
    assert retrains(lake, text) == [retrain(text, text)]


def test_only_loaded_batches_count_each_once_and_sorted(lake: Lake, cause: str) -> None:
    def batch(batch_id: str, status: str) -> Batch:
        return Batch.model_validate(
            {
                "source": cause, "batch_id": batch_id, "file_name": "f", "sha256": batch_id, "size_bytes": 1,
                "status": status, "loaded_at": datetime.now(UTC),
            }
        )  # fmt: skip

    def work(con: duckdb.DuckDBPyConnection) -> None:
        for item in (batch("b2", "LOADED"), batch("b3", "REFUSED"), batch("b1", "REFUSED"), batch("b1", "LOADED")):
            ledger.append_batch(con, item)

    lake.transact(work)
    with lake.connect() as con:
        assert ledger.loaded_batch_ids(con, cause) == ["b1", "b2"]
        assert ledger.loaded_batch_ids(con, "another source") == []
        # the refused file of b1 is the one that was loaded later
        assert [item.batch_id for item in ledger.batches(con, cause)] == ["b1", "b2", "b3"]


def test_every_table_of_records_is_there_from_the_start(lake: Lake) -> None:
    with lake.connect() as con:
        for name in RECORD_TABLES:
            columns = [column for column, *_ in con.execute(f"describe {ledger.record_table(name)}").fetchall()]
            assert columns == ["record_id", "batch_id", "recorded_at", "record"]


def test_a_return_to_an_older_record_is_a_row_of_its_own(lake: Lake, split: SplitManifest) -> None:
    """Regression: a spec that was changed and changed back stayed with the split of the change in between."""
    first, second = (split.model_copy(update={"seed": seed, "as_of": "back"}) for seed in (1, 2))

    def write(item: SplitManifest) -> bool:
        return lake.transact(lambda con: ledger.append_newest(con, "splits", item.split_id, "back", item))

    later = first.model_copy(update={"data_snapshot": 99})
    assert [write(item) for item in (first, later, second, second, first, first)] == [
        True, False, True, False, True, False,
    ]  # fmt: skip
    with lake.connect() as con:
        assert ledger.split_of(con, "back") == first
