"""Files that land on an object store, over HTTP: the S3 API for what it does, a small server for how it fails."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest

from assets.errors import HeadraceError
from assets.home import Home
from assets.raw.places import NotWholeError, content_of, deliver, files_of, landed_files, passed_over, stage
from assets.spec import ProductSpec
from tests import servers

JANUARY = "orders_2024-01.csv"
CONTENT = b"order_id\n1\n"


class Bucket:
    """A bucket as its owner sees it."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        self.name = name
        self.location = f"s3://{name}/landing/"
        self.client: Any = boto3.client("s3", endpoint_url=environment["AWS_ENDPOINT_URL"], region_name="us-east-1")

    def put(self, name: str, content: bytes = CONTENT) -> None:
        """Upload below the prefix."""
        self.client.put_object(Bucket=self.name, Key=f"landing/{name}", Body=content)

    def read(self, name: str) -> bytes:
        """What lies below the prefix."""
        return bytes(self.client.get_object(Bucket=self.name, Key=f"landing/{name}")["Body"].read())


@pytest.fixture
def store(bucket: str, object_store_server: servers.ObjectStoreServer) -> Bucket:
    """An empty bucket of one's own."""
    return Bucket(bucket, object_store_server.environment())


@pytest.fixture
def spec(spec_of: Callable[..., ProductSpec], store: Bucket) -> ProductSpec:
    """The toy, whose orders land on the store and whose kinds in the folder."""
    return spec_of({"source.location": store.location})


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    folder = tmp_path / "staging"
    folder.mkdir()
    return folder


def test_objects_below_the_prefix_are_landed_files_beside_those_of_the_folder(
    spec: ProductSpec, home: Home, store: Bucket, staging: Path
) -> None:
    content = os.urandom(3_000_000)
    store.put(JANUARY, content)
    store.put("orders_2023-12.csv")
    (home.landing("toy") / "kinds.csv").write_bytes(b"kind\n")
    (home.landing("toy") / "orders_2024-02.csv").write_bytes(CONTENT)
    found = landed_files(home, spec)
    assert [(file.name, file.source) for file in found] == [
        ("orders_2023-12.csv", "toy"),
        (JANUARY, "toy"),
        ("kinds.csv", "kinds"),
    ]
    assert (found[1].place, found[1].size_bytes) == (store.location, 3_000_000)
    assert found[1].etag
    staged = stage(found[1], staging)
    assert (staged.sha256, staged.size_bytes) == (hashlib.sha256(content).hexdigest(), 3_000_000)
    assert staged.path.read_bytes() == content
    assert passed_over(home, spec) == [("orders_2024-02.csv", "its name belongs to no source")]


def test_an_object_that_is_replaced_between_look_and_download_is_read_as_the_new_one(
    spec: ProductSpec, home: Home, store: Bucket, staging: Path
) -> None:
    store.put(JANUARY, b"old and longer\n")
    (file,) = landed_files(home, spec)
    store.put(JANUARY, b"new\n")
    assert stage(file, staging).path.read_bytes() == b"new\n"
    (again,) = landed_files(home, spec)
    assert again.etag != file.etag
    assert content_of(again) == hashlib.sha256(b"new\n").hexdigest()


def test_an_object_that_went_away_is_said(spec: ProductSpec, home: Home, store: Bucket, staging: Path) -> None:
    store.put(JANUARY)
    (file,) = landed_files(home, spec)
    store.client.delete_object(Bucket=store.name, Key=f"landing/{JANUARY}")
    with pytest.raises(HeadraceError, match="went away"):
        stage(file, staging)
    assert list(staging.iterdir()) == []


def test_keys_in_sub_folders_are_passed_over_unless_the_pattern_names_them(
    spec_of: Callable[..., ProductSpec], spec: ProductSpec, home: Home, store: Bucket, staging: Path
) -> None:
    store.put(f"old/{JANUARY}")
    store.put("sub/", b"")  # how a console makes a folder
    assert landed_files(home, spec) == []
    assert passed_over(home, spec) == [(f"old/{JANUARY}", "its name belongs to no source")]
    deep = spec_of({"source.location": store.location, "source.files": r"old/orders_(?P<batch>.+)\.csv"})
    (file,) = files_of(home, deep, "toy", "2024-01")
    assert stage(file, staging).path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (f"../{JANUARY}", "its key has an empty part, . or .."),
        (f"/{JANUARY}", "its key has an empty part, . or .."),
        (f"a//{JANUARY}", "its key has an empty part, . or .."),
        (f"./{JANUARY}", "its key has an empty part, . or .."),
        (f"{JANUARY}/", "its key has an empty part, . or .."),
        (f".hidden/{JANUARY}", "a hidden name"),
        (f"{JANUARY}\t", "its name has control characters or is no UTF-8"),
        (f"{JANUARY}.part", "the name of an unfinished copy"),
    ],
)
def test_a_hostile_key_is_passed_over_and_hides_no_other_object(
    spec_of: Callable[..., ProductSpec], home: Home, store: Bucket, key: str, why: str
) -> None:
    spec = spec_of({"source.location": store.location, "source.files": r"(?s:.*orders_(?P<batch>\d+-\d+)\.csv.*)"})
    store.put(key)
    store.put("orders_2024-02.csv")
    assert [file.name for file in landed_files(home, spec)] == ["orders_2024-02.csv"]
    assert passed_over(home, spec) == [(key.replace("\t", "\\t"), why)]


@pytest.mark.parametrize("end", ["'; drop table x; --", "<b>&amp;", "ä€𝄞", "a%20b%2F+c d", "[*?]{}#~", "=cmd()"])
def test_a_strange_key_is_only_a_name(
    spec_of: Callable[..., ProductSpec], home: Home, store: Bucket, staging: Path, end: str
) -> None:
    spec = spec_of({"source.location": store.location, "source.files": r"orders_(?P<batch>\d+)_.*"})
    store.put(f"orders_01_{end}", end.encode())
    (file,) = landed_files(home, spec)
    assert (file.name, file.batch_id) == (f"orders_01_{end}", "01")
    assert stage(file, staging).path.read_bytes() == end.encode()


def test_the_prefix_is_a_folder_and_not_the_begin_of_a_name(
    spec_of: Callable[..., ProductSpec], home: Home, store: Bucket
) -> None:
    store.client.put_object(Bucket=store.name, Key=f"landing-old/{JANUARY}", Body=CONTENT)
    store.client.put_object(Bucket=store.name, Key=f"landing{JANUARY}", Body=CONTENT)
    store.client.put_object(Bucket=store.name, Key="orders_2024-03.csv", Body=CONTENT)
    store.put(JANUARY)
    spec = spec_of({"source.location": f"s3://{store.name}/landing"})
    assert [file.name for file in landed_files(home, spec)] == [JANUARY]
    whole_bucket = spec_of({"source.location": f"s3://{store.name}"})
    assert [file.name for file in landed_files(home, whole_bucket)] == ["orders_2024-03.csv"]


def test_a_marker_on_the_store_may_hold_the_hash(
    spec_of: Callable[..., ProductSpec], home: Home, store: Bucket, staging: Path
) -> None:
    spec = spec_of({"source.location": store.location, "source.arrival": {"done_marker": True}})
    store.put(JANUARY)
    assert passed_over(home, spec) == [(JANUARY, f"waits for {JANUARY}.done")]
    store.put(f"{JANUARY}.done", hashlib.sha256(b"else").hexdigest().encode())
    with pytest.raises(NotWholeError):
        stage(landed_files(home, spec)[0], staging)
    store.put(f"{JANUARY}.done", hashlib.sha256(CONTENT).hexdigest().encode())
    assert stage(landed_files(home, spec)[0], staging).path.read_bytes() == CONTENT
    store.put(f"{JANUARY}.done", b"")
    assert landed_files(home, spec)[0].expected_sha256 == ""


def test_a_file_is_delivered_to_the_store_with_its_marker(
    spec_of: Callable[..., ProductSpec], home: Home, store: Bucket, tmp_path: Path
) -> None:
    spec = spec_of({"source.location": store.location, "source.arrival": {"done_marker": True}})
    (tmp_path / JANUARY).write_bytes(CONTENT)
    assert deliver(home, spec, tmp_path / JANUARY) == f"{store.location}{JANUARY}"
    assert store.read(JANUARY) == CONTENT
    assert store.read(f"{JANUARY}.done").decode() == hashlib.sha256(CONTENT).hexdigest()
    (before,) = landed_files(home, spec)
    deliver(home, spec, tmp_path / JANUARY)
    assert landed_files(home, spec) == [before], "what is there is not uploaded again"
    (tmp_path / JANUARY).write_bytes(b"corrected")
    deliver(home, spec, tmp_path / JANUARY)
    assert store.read(JANUARY) == b"corrected"


def test_a_large_file_is_uploaded_in_parts(spec: ProductSpec, home: Home, tmp_path: Path, staging: Path) -> None:
    content = os.urandom(20_000_000)
    (tmp_path / JANUARY).write_bytes(content)
    deliver(home, spec, tmp_path / JANUARY)
    (file,) = landed_files(home, spec)
    assert file.etag.strip('"').endswith("-3"), "the ETag of an object in three parts, which is no hash of its content"
    assert stage(file, staging).sha256 == hashlib.sha256(content).hexdigest()


# --- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_bucket_that_is_not_there_is_said(spec_of: Callable[..., ProductSpec], home: Home, bucket: str) -> None:
    spec = spec_of({"source.location": f"s3://{bucket}-nobody/landing/"})
    with pytest.raises(HeadraceError, match="there is no such bucket") as caught:
        landed_files(home, spec)
    assert f"{bucket}-nobody" in str(caught.value)


def test_a_store_that_is_down_is_said(spec: ProductSpec, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{servers.free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    with pytest.raises(HeadraceError, match="the object store doesn't answer") as caught:
        landed_files(home, spec)
    assert address in caught.value.found


def test_keys_are_needed_and_never_shown(spec: ProductSpec, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASECRET")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(HeadraceError, match="AWS_SECRET_ACCESS_KEY") as caught:
        landed_files(home, spec)
    assert "AKIASECRET" not in str(caught.value)


def test_nothing_goes_in_the_clear_to_another_machine(
    spec: ProductSpec, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.example:9000")
    with pytest.raises(HeadraceError, match="in the clear"):
        landed_files(home, spec)


def test_no_profile_of_the_user_is_read(
    spec: ProductSpec, home: Home, store: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which store it is, is said by the environment alone."""
    (tmp_path / "config").write_text("[profile else]\nendpoint_url = http://127.0.0.1:1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")  # a client of its own, made under these settings
    store.put(JANUARY)
    assert len(landed_files(home, spec)) == 1


class Failing:
    """A server that answers as a store in trouble does; it lists two objects, one a page, and each is `CONTENT`."""

    def __init__(self) -> None:
        self.code, self.status = "", 200
        self.broken_downloads = 0
        self.downloads = 0

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        if self.code:
            self._send(request, self.status, f"<Error><Code>{self.code}</Code><Message>no</Message></Error>".encode())
        elif "list-type" in request.path:
            self._send(request, 200, self._page(is_last="continuation-token" in request.path))
        else:
            is_download = request.command == "GET"
            self.downloads += is_download
            broken = is_download and self.downloads <= self.broken_downloads
            self._send(request, 200, CONTENT, sent=4 if broken else len(CONTENT))

    def _page(self, *, is_last: bool) -> bytes:
        name = JANUARY if is_last else "orders_2023-12.csv"
        item = f"<Key>landing/{name}</Key><Size>{len(CONTENT)}</Size><ETag>&quot;1&quot;</ETag>"
        when = "<LastModified>2024-01-01T00:00:00Z</LastModified>"
        more = "" if is_last else "<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>"
        return f"<ListBucketResult>{more}<Contents>{item}{when}</Contents></ListBucketResult>".encode()

    def _send(self, request: BaseHTTPRequestHandler, status: int, body: bytes, *, sent: int | None = None) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.send_header("ETag", '"1"')
        request.send_header("x-amz-bucket-region", "eu-west-1")
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body[:sent])
        request.close_connection = True


@contextmanager
def served(failing: Failing) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            failing.answer(self)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Failing]:
    """A store in trouble, which the environment names."""
    trouble = Failing()
    with served(trouble) as address:
        for name, value in servers.ObjectStoreServer(address).environment().items():
            monkeypatch.setenv(name, value)
        yield trouble


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "AccessDenied", "the store refuses access"),
        (403, "InvalidAccessKeyId", "doesn't know the access key"),
        (403, "SignatureDoesNotMatch", "the secret key is wrong"),
        (400, "ExpiredToken", "the session token has expired"),
        (301, "PermanentRedirect", "in another region"),
        (418, "SomethingElse", "the store refuses the request"),
    ],
)
def test_what_the_store_says_is_said_with_what_to_do(
    spec_of: Callable[..., ProductSpec], home: Home, failing: Failing, status: int, code: str, said: str
) -> None:
    failing.status, failing.code = status, code
    with pytest.raises(HeadraceError, match=said) as caught:
        landed_files(home, spec_of({"source.location": "s3://bucket/landing/"}))
    assert code in caught.value.found
    assert caught.value.fix


@pytest.mark.usefixtures("failing")
def test_every_page_of_a_list_is_read(spec_of: Callable[..., ProductSpec], home: Home) -> None:
    found = landed_files(home, spec_of({"source.location": "s3://bucket/landing/"}))
    assert [file.batch_id for file in found] == ["2023-12", "2024-01"]


def test_a_download_that_breaks_off_starts_again(
    spec_of: Callable[..., ProductSpec], home: Home, failing: Failing, staging: Path
) -> None:
    """What came before the break is nowhere in the copy."""
    failing.broken_downloads = 2
    file = landed_files(home, spec_of({"source.location": "s3://bucket/landing/"}))[0]
    assert stage(file, staging).path.read_bytes() == CONTENT
    assert failing.downloads == 3


def test_a_download_that_always_breaks_off_is_given_up(
    spec_of: Callable[..., ProductSpec], home: Home, failing: Failing, staging: Path
) -> None:
    failing.broken_downloads = 99
    file = landed_files(home, spec_of({"source.location": "s3://bucket/landing/"}))[0]
    with pytest.raises(HeadraceError, match="can't be read to its end"):
        stage(file, staging)
    assert list(staging.iterdir()) == []
