"""The object store's settings: from the environment alone, and never shown."""

import json

import duckdb
import pytest

from assets.errors import HeadraceError
from assets.object_store import dbt_secret, object_store, split_address

KEYS = {"AWS_ACCESS_KEY_ID": "us", "AWS_SECRET_ACCESS_KEY": "it's secret"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {"region": "us-east-1", "use_ssl": True, "url_style": "vhost"}),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, {"region": "eu-west-1", "use_ssl": True, "url_style": "vhost"}),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000/"},
            {"region": "us-east-1", "use_ssl": False, "url_style": "path", "endpoint": "127.0.0.1:9000"},
        ),
        (
            {"AWS_ENDPOINT_URL": "https://a", "AWS_ENDPOINT_URL_S3": "https://store.example/s3", "AWS_REGION": "x"},
            {"region": "x", "use_ssl": True, "url_style": "path", "endpoint": "store.example/s3"},
        ),
        (
            {"AWS_ENDPOINT_URL": "https://store.example", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true"},
            {"region": "us-east-1", "use_ssl": True, "url_style": "vhost", "endpoint": "store.example"},
        ),
        (
            {"AWS_SESSION_TOKEN": "t"},
            {"region": "us-east-1", "use_ssl": True, "url_style": "vhost", "session_token": "t"},
        ),
    ],
)
def test_the_usual_variables_say_where_it_is(environment: dict[str, str], expected: dict[str, object]) -> None:
    store = object_store(KEYS | environment)
    assert store.options() == {"key_id": "us", "secret": "it's secret", **expected}


@pytest.mark.parametrize("name", KEYS)
def test_a_missing_key_is_named_and_the_other_one_not_shown(name: str) -> None:
    with pytest.raises(HeadraceError, match=f"{name} not set") as caught:
        object_store({key: value for key, value in KEYS.items() if key != name})
    assert "secret" not in str(caught.value).lower().replace("secret_access_key", "")


def test_an_endpoint_needs_its_scheme() -> None:
    with pytest.raises(HeadraceError, match="endpoint is no address"):
        object_store(KEYS | {"AWS_ENDPOINT_URL": "localhost:9000"})


def test_no_key_is_in_a_text_that_may_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    secret = dbt_secret("s3://lakes/toy/")
    assert "env_var('AWS_SECRET_ACCESS_KEY')" in secret["secret"]
    assert "it's" not in f"{object_store()!r} {object_store()} {json.dumps(secret)}"


def test_duckdb_takes_the_secret_whatever_is_in_it_and_shows_none_of_it() -> None:
    from assets.lake import extension_file

    with duckdb.connect() as con:
        con.execute(f"load '{extension_file('httpfs')}'")
        con.execute(object_store(KEYS | {"AWS_SESSION_TOKEN": "a'b"}).secret_sql("s3://lakes/it's/"))
        shown = con.execute("select secret_string from duckdb_secrets()").fetchall()[0][0]
    assert "secret=redacted" in shown
    assert "it's secret" not in shown


@pytest.mark.parametrize(
    ("address", "parts"),
    [("s3://b", ("b", "")), ("s3://b/", ("b", "")), ("s3://b/a/c/", ("b", "a/c")), ("s3://b/a.csv", ("b", "a.csv"))],
)
def test_an_address_is_a_bucket_and_a_prefix(address: str, parts: tuple[str, str]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize("address", ["", "s3://", "s3:///a", "/data", "gs://b/a", "b/a"])
def test_another_address_is_refused(address: str) -> None:
    with pytest.raises(HeadraceError, match="no address in an object store"):
        split_address(address)
