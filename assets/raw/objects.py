"""Landed objects on an object store: listed with their ETags, read as the version that was listed, delivered.

What an object's name means is said in `landing.py`; endpoint and keys come from `assets/object_store.py`. The client is
botocore's, because it gives keys as they are: one that normalises paths can list no prefix in which a single key has
`..` or an empty part, and takes `a.csv/` for `a.csv`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from assets.errors import HeadraceError
from assets.kill_points import kill_point
from assets.object_store import ObjectStore, object_store, split_address

_PIECE_BYTES = 1 << 20
_ATTEMPTS = 3
_SHA256 = "headrace-sha256"  # metadata of what `deliver` has uploaded

# code of the store's answer -> what it means, and what to do
_ANSWERS = {
    "NoSuchBucket": ("there is no such bucket", "create it, or correct `location:` in the product's spec"),
    "AccessDenied": ("the store refuses access", "give these keys the rights to list, read and write the prefix"),
    "AllAccessDisabled": ("the store refuses access", "give these keys the rights to list, read and write the prefix"),
    "403": ("the store refuses access", "give these keys the rights to list, read and write the prefix"),
    "InvalidAccessKeyId": ("the store doesn't know the access key", "set AWS_ACCESS_KEY_ID to one that it has"),
    "SignatureDoesNotMatch": ("the secret key is wrong", "set AWS_SECRET_ACCESS_KEY to the access key's"),
    "ExpiredToken": ("the session token has expired", "set AWS_SESSION_TOKEN anew"),
    "PermanentRedirect": ("the bucket is in another region", "set AWS_REGION to the bucket's"),
    "AuthorizationHeaderMalformed": ("the bucket is in another region", "set AWS_REGION to the bucket's"),
    "NoSuchKey": ("the object went away", "deliver it again"),
    "404": ("the object went away", "deliver it again"),
}


@dataclass(frozen=True)
class ListedObject:
    """One object below a prefix; its name is the key behind the prefix."""

    name: str
    size_bytes: int
    modified_ns: int
    etag: str


class _ChangedError(Exception):
    """The object was replaced, or the connection broke, before its last byte came."""


def listed(location: str) -> list[ListedObject]:
    """The objects below a prefix; empty ones whose key ends in a slash (folders of a console) are no objects.

    Raises:
        HeadraceError: the store doesn't answer, or refuses.
    """
    bucket, prefix = _address(location)
    found = []
    with _clear_errors(location):
        for page in _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", ()):
                if item["Size"] == 0 and item["Key"].endswith("/"):
                    continue
                modified_ns = int(item["LastModified"].timestamp() * 1e9)
                found.append(ListedObject(item["Key"][len(prefix) :], item["Size"], modified_ns, item["ETag"]))
    return found


def read(location: str, name: str, etag: str, take: Callable[[Iterator[bytes]], str]) -> str:
    """Read an object as the version of `etag`; if it was replaced meanwhile, from the start as the new one.

    Args:
        location: the prefix.
        name: the key behind it.
        etag: of the version that was listed.
        take: is given the pieces; again from the first one if the reading starts again.

    Returns:
        what `take` made of all of them.

    Raises:
        HeadraceError: the object went away, changes all the time, or the store doesn't answer.
    """
    bucket, prefix = _address(location)
    where = f"s3://{bucket}/{prefix}{name}"
    with _clear_errors(where):
        for _ in range(_ATTEMPTS):
            try:
                return take(_pieces(bucket, prefix + name, etag))
            except _ChangedError:
                etag = _client().head_object(Bucket=bucket, Key=prefix + name)["ETag"]
    raise HeadraceError(
        "the object can't be read to its end",
        where=where,
        expected="a connection and an object that last for one download",
        found=f"{_ATTEMPTS} downloads that broke off, or were overtaken by a new version",
        fix="nothing if the network is at fault: it is asked again; else stop replacing the object again and again",
    )


def deliver(location: str, file: Path, *, sha256: str, marker: str) -> str:
    """Upload a file unless it is there; an object appears whole or not at all. The marker, if any, comes last.

    Raises:
        HeadraceError: the store doesn't answer, or refuses.
    """
    bucket, prefix = _address(location)
    key, client = prefix + file.name, _client()
    with _clear_errors(f"s3://{bucket}/{key}"):
        if _sha256_of(client, bucket, key) != sha256:
            kill_point("landing.upload.before")
            client.upload_file(str(file), bucket, key, ExtraArgs={"Metadata": {_SHA256: sha256}})
            kill_point("landing.upload.after")
        if marker:
            client.put_object(Bucket=bucket, Key=prefix + marker, Body=sha256.encode())
            kill_point("landing.upload_marker.after")
    return f"s3://{bucket}/{key}"


def _sha256_of(client: Any, bucket: str, key: str) -> str:
    """The SHA-256 that an object was delivered with; empty if it isn't there or came otherwise."""
    from botocore.exceptions import ClientError

    try:
        return str(client.head_object(Bucket=bucket, Key=key)["Metadata"].get(_SHA256, ""))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return ""
        raise


def _pieces(bucket: str, key: str, etag: str) -> Iterator[bytes]:
    from botocore.exceptions import ClientError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError

    try:
        answer = _client().get_object(Bucket=bucket, Key=key, IfMatch=etag)
        with closing(answer["Body"]) as body:
            yield from body.iter_chunks(_PIECE_BYTES)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("PreconditionFailed", "412"):
            raise _ChangedError from None
        raise
    except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
        raise _ChangedError from None


def _address(location: str) -> tuple[str, str]:
    """Bucket and prefix; a prefix that isn't empty ends in a slash, so that it is a folder's."""
    bucket, prefix = split_address(location)
    return bucket, f"{prefix}/" if prefix else ""


def _client() -> Any:
    return client_of(object_store())


@lru_cache(maxsize=4)
def client_of(store: ObjectStore) -> Any:
    """A client that knows nothing but the environment: no profile, no file of keys is read."""
    import boto3
    import botocore.session
    from botocore.config import Config

    nothing = (None, None, os.devnull, None)
    session = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": nothing,
            "credentials_file": nothing,
        }
    )
    return boto3.Session(botocore_session=session).client(
        "s3",
        region_name=store.region,
        endpoint_url=store.endpoint or None,
        aws_access_key_id=store.access_key_id,
        aws_secret_access_key=store.secret_access_key,
        aws_session_token=store.session_token or None,
        config=Config(
            s3={"addressing_style": "virtual" if store.virtual_hosted else "path"},
            signature_version="s3v4",
            retries={"mode": "standard", "max_attempts": _ATTEMPTS},
            connect_timeout=5,
            read_timeout=60,
            # stores of other makers don't all know the newer checksums; the content is hashed here anyway
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


@contextmanager
def _clear_errors(where: str) -> Iterator[None]:
    """Say what the store's answer means, and what to do."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        what, fix = _ANSWERS.get(code, ("the store refuses the request", "see what it says"))
        found = error.response["Error"].get("Message") or code
        raise HeadraceError(what, where=where, found=f"{code}: {found}", fix=fix) from None
    except (BotoCoreError, Boto3Error) as error:
        raise HeadraceError(
            "the object store doesn't answer",
            where=where,
            expected="an S3 API at AWS_ENDPOINT_URL, or Amazon's",
            found=str(error),
            fix="check the address and that the store is up; it is asked again at the next look",
        ) from None
