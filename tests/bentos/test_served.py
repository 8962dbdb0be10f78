"""A real bento of a tiny model: built once, served once, asked everything."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import psutil
import pytest

from assets.candidates.explain import reasons_of
from assets.candidates.predictor import load_predictor
from assets.errors import HeadraceError
from assets.settings import Settings
from bentos.build import bento_path, build_bento
from bentos.schemas import json_row
from bentos.smoke import Server, ask_bento, running
from tests.words import words_of

pytestmark = pytest.mark.journey

INPUTS = ("depot", "weight_kg", "stops", "handed_in_at", "copy")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def tag(settings: Settings, model: Path, example: dict[str, Any]) -> str:
    return build_bento(settings, model, example, product="parcels", as_of="2024-03", words=words_of(model))


@pytest.fixture(scope="module")
def server(settings: Settings, tag: str) -> Iterator[Server]:
    with running(settings, tag, startup_timeout_s=60) as found:
        yield found


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as found:
        yield found


@pytest.fixture(scope="module")
def row(example: dict[str, Any]) -> dict[str, Any]:
    return json_row(example, INPUTS)


def test_online_and_offline_scores_agree_to_the_last_bit(
    client: httpx.Client, model: Path, parcels: pl.DataFrame
) -> None:
    """All rows together and each alone, with missing values and unknown categories among them."""
    offline = load_predictor(model, threads=2).scores(parcels)
    rows = [json_row(item, INPUTS) for item in parcels.to_dicts()]
    together = client.post("/predict", json={"rows": rows}).json()
    alone = [client.post("/predict", json={"rows": [item]}).json()["predictions"][0] for item in rows[:50]]
    assert [item["probability"] for item in together["predictions"]] == offline.tolist()
    assert [item["probability"] for item in alone] == offline[:50].tolist()
    assert [item["is_late"] for item in together["predictions"]] == (offline >= 0.4).tolist()
    assert (together["model_id"], together["as_of"], together["threshold"]) == (model.name, "2024-03", 0.4)


def test_the_example_of_the_openapi_document_works(client: httpx.Client, row: dict[str, Any]) -> None:
    document = client.get("/docs.json").json()
    operation = document["paths"]["/predict"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema["example"] == {"rows": [row]}
    assert client.post("/predict", json=schema["example"]).status_code == 200
    assert document["info"]["title"] == "parcels"
    assert document["components"]["schemas"]["Row"]["properties"]["stops"]["type"] == "integer"


def test_reasons_are_given_on_request_and_change_nothing_else(
    client: httpx.Client, model: Path, parcels: pl.DataFrame
) -> None:
    """They are what the model gives offline, to the last bit; without them the answer is byte for byte as ever."""
    predictor = load_predictor(model)
    frame = parcels.head(40)
    rows = [json_row(item, INPUTS) for item in frame.to_dicts()]
    answer = client.post("/predict", json={"rows": rows, "reasons": 3}).json()
    offline = reasons_of(predictor, frame, predictor.scores(frame), 3)
    assert [item.pop("reasons") for item in answer["predictions"]] == offline
    plain = client.post("/predict", json={"rows": rows})
    assert plain.content == client.post("/predict", json={"rows": rows, "reasons": 0}).content
    assert plain.json() == answer
    every = client.post("/predict", json={"rows": rows[:1], "reasons": 10}).json()["predictions"][0]
    base = predictor.contributions(frame.head(1))[0, -1]
    odds = base + sum(item["contribution"] for item in every["reasons"])
    assert 1 / (1 + np.exp(-(0.7 * odds + 0.2))) == pytest.approx(every["probability"], abs=1e-12)
    schema = client.get("/docs.json").json()["components"]["schemas"]
    assert set(schema["Reason"]["example"]) == {"feature", "value", "contribution"} == set(every["reasons"][0])


@pytest.mark.parametrize(("reasons", "rows"), [(11, 1), ("3", 1), (1, 101)])
def test_reasons_out_of_bounds_are_refused_by_name(
    client: httpx.Client, row: dict[str, Any], reasons: Any, rows: int
) -> None:
    answer = client.post("/predict", json={"rows": [row] * rows, "reasons": reasons})
    assert answer.status_code == 400
    assert answer.json()["fields"][0]["field"] == "reasons"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"stops": "3"}, "stops"), ({"weight_kg": float("nan")}, "weight_kg"), ({"copy": float("inf")}, "copy"),
        ({"wieght_kg": 1}, "wieght_kg"), ({"depot": 1}, "depot"), ({"copy": None}, "copy"),
        ({"handed_in_at": "2024-01-05T14:30:00Z"}, "handed_in_at"), ({"stops": 2**64}, "stops"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_refused_by_field(
    client: httpx.Client, row: dict[str, Any], change: dict[str, Any], field: str
) -> None:
    answer = client.post(
        "/predict",
        content=json.dumps({"rows": [row, {**row, **change}]}),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 400
    assert answer.json()["fields"][0]["field"] == f"rows.1.{field}"


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b'{"rows": []}', "application/json", 400),
        (b"", "application/json", 400),
        (b'{"rows": [', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"\x80\x05N.", "application/vnd.bentoml+pickle", 415),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", 415),
        (b'{"rows": []}', "text/plain", 415),
        (b'{"rows": []}', "application/x-www-form-urlencoded", 415),
        (b" " * 9_000_000, "application/json", 413),
        (b" " * 70_000_000, "application/json", 413),
    ],
    ids=["no rows", "empty", "cut", "deep", "pickle", "multipart", "text", "form", "9 MB", "70 MB"],
)
def test_a_hostile_body_is_refused_and_the_service_goes_on(
    client: httpx.Client, content: bytes, media_type: str, status: int
) -> None:
    """Regression: by default an empty list was a 500, and a body of 64 MB took gigabytes and blocked health checks."""
    answer = client.post("/predict", content=content, headers={"content-type": media_type})
    assert answer.status_code == status
    assert answer.json()["fields"][0]["field"]
    assert client.get("/readyz", timeout=5).status_code == 200


def test_a_body_without_a_declared_length_is_bounded_too(client: httpx.Client) -> None:
    chunks = (b" " * 1_000_000 for _ in range(9))
    answer = client.post("/predict", content=chunks, headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_a_body_that_would_never_end_is_refused_at_once(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_row_without_a_finite_answer_is_named(client: httpx.Client, row: dict[str, Any]) -> None:
    """The row feature is a whole number, which 1e300 kilograms don't fit into; nothing is made up instead."""
    answer = client.post("/predict", json={"rows": [row, row, {**row, "weight_kg": 1e300}, row, row]})
    assert answer.status_code == 422
    assert answer.json()["fields"][0]["field"] == "rows.2"


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/metrics", "/docs.json", "/"])
def test_what_operators_ask_is_answered_with_the_model(client: httpx.Client, path: str, model: Path) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["x-headrace-model"] == model.name


def test_the_page_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/")
    assert "parcels" in page.text
    assert "//" not in page.text.replace("<!doctype html>", "")
    assert page.headers["content-security-policy"].startswith("default-src 'self'")


def test_requests_are_counted(client: httpx.Client) -> None:
    client.post("/predict", content=b"", headers={"content-type": "application/json"})
    assert 'endpoint="/predict",http_response_code="400"' in client.get("/metrics").text


def test_the_smoke_test_reports_parity_and_latency(
    settings: Settings, tag: str, model: Path, parcels: pl.DataFrame
) -> None:
    """One offline score is wrong on purpose: its row is found, and only it."""
    offline = load_predictor(model).scores(parcels)
    offline[3] = np.nextafter(offline[3], 1)
    report = ask_bento(settings, tag, parcels.to_dicts(), offline, latency_requests=20)
    assert (report.tag, report.model_id, report.rows, report.mismatches) == (tag, model.name, parcels.height, 1)
    assert 0 < report.max_abs_difference < 1e-15
    assert 0 < report.latency_p50_ms <= report.latency_p99_ms < 1_000
    assert report.bad_request_status == 400
    assert report.startup_seconds > 0
    with pytest.raises(HeadraceError, match="each with its offline score"):
        ask_bento(settings, tag, parcels.to_dicts(), offline[:-1])


def test_a_damaged_bento_ends_with_its_reason(settings: Settings, tag: str, tmp_path: Path) -> None:
    damaged = Settings(home=tmp_path)
    folder = bento_path(damaged, tag)
    shutil.copytree(bento_path(settings, tag), folder)
    file = next(folder.glob("src/model/*/model.txt"))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(HeadraceError) as caught, running(damaged, tag, startup_timeout_s=60):
        pass
    assert f"{tag}: the bento ended with exit code 1" in str(caught.value)
    assert "the model's files are not the ones that were saved" in str(caught.value)


def test_a_partial_bento_is_built_again_and_a_whole_one_is_not(
    settings: Settings, tag: str, model: Path, example: dict[str, Any], tmp_path: Path
) -> None:
    other = Settings(home=tmp_path)
    folder = bento_path(other, tag)
    shutil.copytree(bento_path(settings, tag) / "src/bentos", folder / "src/bentos")
    assert build_bento(other, model, example, product="parcels", as_of="2024-03", words=words_of(model)) == tag
    built_at = (folder / "bento.yaml").stat().st_mtime_ns
    assert build_bento(other, model, example, product="parcels", as_of="2024-03", words=words_of(model)) == tag
    assert (folder / "bento.yaml").stat().st_mtime_ns == built_at
    assert not (other.bentos / "staging/parcels").exists()


def test_plain_bentoml_serve_listens_on_loopback(settings: Settings, tag: str) -> None:
    """BentoML's own default is every interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "bentoml", "serve", tag, "--port", str(port)],
        env=settings.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert addresses_of(psutil.Process(process.pid), port) == {"127.0.0.1"}
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        for member in [psutil.Process(process.pid), *children]:
            member.kill()
        process.wait()


def test_what_serves_imports_nothing_that_trains(settings: Settings, tag: str) -> None:
    """The bento's own code is imported, from its own folder, and none of the heavy packages."""
    source = bento_path(settings, tag) / "src"
    code = (
        "import sys, bentos.service, assets.candidates.predictor as predictor\n"
        "bentos.service.Predictions()\n"
        "heavy = {'dagster', 'dbt', 'evidently', 'duckdb'} & set(sys.modules)\n"
        "print(bentos.service.__file__, predictor.__file__, sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, env=settings.environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [
        str(source / "bentos/service.py"),
        str(source / "assets/candidates/predictor.py"),
        "[]",
    ]


def addresses_of(process: psutil.Process, port: int) -> set[str]:
    """The addresses on which a process listens at a port, once it does."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = {item.laddr.ip for item in process.net_connections("tcp") if item.laddr.port == port}
        if found:
            return found
        time.sleep(0.05)
    return set()
