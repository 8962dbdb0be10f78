"""What tests share: homes below temporary folders, and a toy product: orders that are sent back or not."""

import copy
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from assets.home import Home
from assets.lake import Lake
from assets.settings import Settings
from assets.spec import ProductSpec
from tests import servers

# `HEADRACE_TEST_DEPLOYMENT=shared pytest ...` runs the same tests on PostgreSQL and an object store
UPDATE_GRAPH = "HEADRACE_UPDATE_GRAPH"
DEPLOYMENT = "HEADRACE_TEST_DEPLOYMENT"

# the same examples in every run, and no deadline: the machine is shared
settings.register_profile(
    "headrace",
    derandomize=True,
    max_examples=50,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("headrace")

TOY: dict[str, Any] = {
    "product": "toy",
    "title": "Will this order be sent back?",
    "description": "Orders of a shop.",
    "owner": "team:tests",
    "task": "binary",
    "source": {
        "files": r"orders_(?P<batch>\d{4}-\d{2})\.csv",
        "columns": {"order_id": "BIGINT", "ordered_at": "TIMESTAMP", "size": "DOUBLE", "kind": "VARCHAR"},
        "required": ["order_id"],
    },
    "references": {"kinds": {"files": r"kinds\.csv", "columns": {"kind": "VARCHAR", "weight": "DOUBLE"}}},
    "key": ["order_id"],
    "time": {"event": "ordered_at", "known_at": "known_at"},
    "label": {
        "column": "is_returned",
        "description": "is sent back",
        "known_at": "returned_at",
        "delay_minutes": 60,
        "outcomes": ["refund"],
    },
    "features": {
        "inputs": {
            "kind": {"type": "category", "required": True, "description": "Kind of goods"},
            "size": {"type": "number"},
            "pieces": {"type": "integer"},
            "ordered_local_at": {"type": "timestamp", "required": True},
        },
        "row": {
            "hour": {"sql": "CAST(EXTRACT(HOUR FROM ordered_local_at) AS INT)"},
            "size_of_all": {"sql": "size * pieces"},
        },
    },
    "split": {"min_train_rows": 20, "validation_share": 0.2},
    "candidates": [
        {"algorithm": "baseline"},
        {"algorithm": "logistic_regression"},
        {"algorithm": "lightgbm", "params": {"max_rounds": 20, "min_data_in_leaf": 5, "num_leaves": 7}},
    ],
    "gates": {"slices": {"by": ["kind"], "min_rows": 20}},
}


def toy_fields(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The fields of the toy product; changes are by dotted path, and the value `...` leaves a field out."""
    fields = copy.deepcopy(TOY)
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        part: Any = fields
        for name in parents:
            part = part[int(name)] if isinstance(part, list) else part.setdefault(name, {})
        if value is ...:
            del part[last]
        else:
            part[last] = value
    return fields


@pytest.fixture(scope="session")
def fields_of() -> Callable[..., dict[str, Any]]:
    """The toy product's fields with changes, before they are checked."""
    return toy_fields


@pytest.fixture(scope="session")
def spec_of() -> Callable[..., ProductSpec]:
    """The toy product with changes."""
    return lambda changes=None: ProductSpec.model_validate(toy_fields(changes))


@pytest.fixture(scope="session")
def toy() -> ProductSpec:
    return ProductSpec.model_validate(toy_fields())


@pytest.fixture
def home(tmp_path: Path, settings_at: Callable[..., Settings]) -> Home:
    """An empty home; its lakes cost a second each, at their first use."""
    return Home(settings_at(tmp_path / "home"))


@pytest.fixture(scope="session")
def session_home(tmp_path_factory: pytest.TempPathFactory, settings_at: Callable[..., Settings]) -> Home:
    """A home for all tests; each uses sources, batches and ids of its own."""
    return Home(settings_at(tmp_path_factory.mktemp("session") / "home"))


@pytest.fixture(scope="session")
def lake(session_home: Home) -> Lake:
    """The toy's lake in the session's home: shared, so that it is created once."""
    return session_home.lake("toy")


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> Iterator[None]:
    """A developer's variables must not reach a test, nor a test a developer's database or bucket."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("HEADRACE_", "AWS_", "PG")) and name not in (DEPLOYMENT, UPDATE_GRAPH):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def settings_at(request: pytest.FixtureRequest) -> Callable[..., Settings]:
    """Settings of a new home at a path: as a laptop's, or shared if HEADRACE_TEST_DEPLOYMENT says so."""
    if os.environ.get(DEPLOYMENT) == "shared":
        found: Callable[..., Settings] = request.getfixturevalue("shared_settings_at")
        return found
    return lambda home, **changes: Settings(home=home, **changes)


@pytest.fixture(scope="session")
def shared_settings_at(
    postgres_server: servers.PostgresServer, object_store_server: servers.ObjectStoreServer
) -> Iterator[Callable[..., Settings]]:
    """Settings of a new home whose lakes have their catalog in PostgreSQL and their data in an object store."""

    def make(home: Path, **changes: Any) -> Settings:
        catalog = f"postgres:{postgres_server.new_database()}"
        data = f"s3://{object_store_server.new_bucket()}/lakes/{{product}}/"
        return Settings(home=home, lake_catalog=catalog, lake_data=data, **changes)

    with pytest.MonkeyPatch.context() as patch:
        for name, value in object_store_server.environment().items():
            patch.setenv(name, value)
        yield make


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.PostgresServer]:
    """A real PostgreSQL, started when the first test asks for it."""
    if servers.postgres_programs() is None:
        pytest.skip("PostgreSQL's server programs (initdb, pg_ctl) are not installed")
    with servers.postgres_server() as server:
        yield server


@pytest.fixture
def postgres_database(postgres_server: servers.PostgresServer) -> str:
    """The connection string of a database of one's own."""
    return postgres_server.new_database()


@pytest.fixture(scope="session")
def object_store_server() -> Iterator[servers.ObjectStoreServer]:
    """A real S3 API over HTTP, started when the first test asks for it."""
    with servers.object_store_server() as server:
        yield server


@pytest.fixture
def bucket(object_store_server: servers.ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a bucket of one's own; the environment says where it is."""
    for name, value in object_store_server.environment().items():
        monkeypatch.setenv(name, value)
    return object_store_server.new_bucket()
