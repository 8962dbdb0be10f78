"""The oracle sees what it is there for: a row that is lost, one that is there twice, and a file that nobody names."""

from pathlib import Path

from assets.naming import table
from assets.settings import Settings
from tests.faults.oracle import differences, examine
from tests.faults.scenarios import day_of


def test_what_is_planted_is_found(tmp_path: Path) -> None:
    day = day_of(Settings(home=tmp_path / "home"), "create", seed=0)
    day.run(lambda _: None)
    quiet = examine(day)
    assert (quiet.lost, quiet.doubled, quiet.orphaned, quiet.wrong) == (0, 0, [], [])
    raw = table("raw", "parcels")
    day.lake.transact(
        lambda con: con.execute(f"delete from {raw} where row_number = (select min(row_number) from {raw})")
    )
    found = examine(day)
    assert (found.lost, found.doubled) == (1, 0)
    assert differences(found, quiet).lost == 2, "by the deliveries, and by the table"
    again = f"insert into {raw} select * from {raw} where row_number = (select max(row_number) from {raw})"
    day.lake.transact(lambda con: con.execute(again))
    (Path(day.lake.data_path) / "raw" / "parcels" / "nobody.parquet").touch()
    (day.lake.staging / "left.staged").touch()
    found = examine(day)
    assert (found.lost, found.doubled) == (1, 1)
    assert found.orphaned == ["data/raw/parcels/nobody.parquet", "staging/left.staged"]
    assert "raw.parcels: 1 rows are lost, 1 are too many" in differences(found, quiet).wrong
