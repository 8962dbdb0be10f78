"""The change sensor on a real database and instance: one partition and one run for what waits, asked for once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from assets.home import Home
from assets.naming import partitions_name
from assets.raw.postgres.batches import load_batch, waiting_batch
from assets.raw.postgres.slot import forget_source
from assets.settings import Settings
from assets.spec import ProductSpec
from sensors import changes


@pytest.fixture
def spec(spec_of: Callable[..., ProductSpec]) -> ProductSpec:
    return spec_of(
        {"source.files": ..., "source.postgres": {"table": "orders", "max_batch_changes": 20}, "references": {}}
    )


@pytest.fixture
def database(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    monkeypatch.setenv("HEADRACE_POSTGRES", postgres_database)
    with psycopg.connect(postgres_database, autocommit=True) as con:
        con.execute("create table orders (order_id bigint primary key, ordered_at timestamp, size float8, kind text)")
        con.execute("alter table orders replica identity full")
        yield con


class Watcher:
    """Looks as the daemon does: a partition that is asked for is added, and a run is remembered."""

    def __init__(self, home: Home, spec: ProductSpec) -> None:
        @dg.op
        def nothing() -> None: ...

        jobs = [dg.GraphDefinition(name=name, node_defs=[nothing]).to_job() for name in ("toy_load", "toy_journey")]
        self.spec, self.home = spec, home
        self.instance = dg.DagsterInstance.ephemeral()
        self.jobs = {job.name: job for job in jobs}
        self.sensor = changes.build(spec, load_job=jobs[0], journey_job=jobs[1])

    def look(self) -> tuple[list[dg.RunRequest], str]:
        """The runs that are asked for, and why none is."""
        context = dg.build_sensor_context(instance=self.instance, resources={"home": self.home})
        result = self.sensor(context)
        assert isinstance(result, dg.SensorResult)
        for request in result.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        reason = (
            result.skip_reason.skip_message if isinstance(result.skip_reason, dg.SkipReason) else result.skip_reason
        )
        return list(result.run_requests or []), str(reason or "")

    def start(self, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
        """A run of this request that has come so far."""
        self.instance.create_run_for_job(
            self.jobs[str(request.job_name)], status=status, tags={**request.tags, "dagster/partition": "x"}
        )


def test_what_waits_is_asked_for_once(tmp_path: Path, spec: ProductSpec, database: psycopg.Connection) -> None:
    """A snapshot, then changes; the same batch until it is loaded; a run that ended without it is asked for again."""
    home = Home(Settings(home=tmp_path / "home"))
    watcher = Watcher(home, spec)
    (request,), _ = watcher.look()
    assert request.job_name == "toy_journey"
    assert watcher.instance.get_dynamic_partitions(partitions_name("toy")) == [request.partition_key]
    database.execute("insert into orders values (1, null, 1, 'a')")
    (again,), _ = watcher.look()
    assert (again.partition_key, again.run_key) == (request.partition_key, request.run_key)

    watcher.start(request, dg.DagsterRunStatus.STARTED)
    assert watcher.look() == ([], f"{request.partition_key} is being loaded")
    watcher.instance.wipe()
    for attempt in range(3):
        watcher.instance.add_dynamic_partitions(partitions_name("toy"), [str(request.partition_key)])
        (again,), _ = watcher.look()
        assert again.run_key == f"toy-journey-{request.partition_key}-{attempt}"
        watcher.start(again, dg.DagsterRunStatus.FAILURE)
    assert "3 times" in watcher.look()[1]

    load_batch(home, spec, str(request.partition_key))
    assert watcher.look() == ([], "no change")
    for key in range(100, 140):
        database.execute("insert into orders values (%s, null, 1, 'a')", [key])
    (many,), _ = watcher.look()
    assert many.job_name == "toy_load", "more waits behind it, which goes on to the models"


@pytest.mark.usefixtures("database")
def test_a_forgotten_source_rests_until_somebody_runs_it(tmp_path: Path, spec: ProductSpec) -> None:
    """Else the sensor would take the next snapshot at once, and its slot would keep the server's log again."""
    home = Home(Settings(home=tmp_path / "home"))
    watcher = Watcher(home, spec)
    load_batch(home, spec, waiting_batch(home, spec) or "")
    forget_source(home, spec)
    assert watcher.look() == ([], "the source was forgotten: headrace run toy begins anew")
    load_batch(home, spec, waiting_batch(home, spec) or "")
    assert watcher.look() == ([], "no change")


@pytest.mark.usefixtures("database")
def test_a_place_of_references_that_does_not_answer_is_a_reason(
    tmp_path: Path, spec_of: Callable[..., ProductSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sensor looks again, and no stack trace stands in its history every ten seconds."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    branches = {"files": r"branches\.csv", "location": "s3://nowhere/b/", "columns": {"branch": "BIGINT"}}
    spec = spec_of({"source.files": ..., "source.postgres": {"table": "orders"}, "references": {"branches": branches}})
    requests, reason = Watcher(Home(Settings(home=tmp_path / "home")), spec).look()
    assert requests == []
    assert "the object store's keys are not in the environment" in reason


def test_a_database_that_is_down_is_a_reason(
    tmp_path: Path, spec: ProductSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_POSTGRES", "host=127.0.0.1 port=1 dbname=none")
    requests, reason = Watcher(Home(Settings(home=tmp_path / "home")), spec).look()
    assert requests == []
    assert "PostgreSQL said no" in reason
