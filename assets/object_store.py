"""Which object store `s3://` means, from the environment alone: for DuckDB, for dbt and for the landing.

The names are the ones that every S3 client reads (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ...), so one set serves
the whole platform. What is listed, read or written is decided by the callers; nothing here opens a connection.
"""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from assets.errors import HeadraceError
from assets.naming import literal

SCHEME = "s3://"

# field -> the variables it is read from, the first one that is set counts
_VARIABLES = {
    "access_key_id": ("AWS_ACCESS_KEY_ID",),
    "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
    "session_token": ("AWS_SESSION_TOKEN",),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "virtual_hosted": ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST",),
}


@dataclass(frozen=True)
class ObjectStore:
    """Where `s3://` is and who asks; its text form shows neither key."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    region: str = "us-east-1"
    endpoint: str = ""
    virtual_hosted: bool = True

    @property
    def uses_tls(self) -> bool:
        """Whether the wire is encrypted; only an endpoint that says http:// is not."""
        return not self.endpoint.startswith("http://")

    def options(self) -> dict[str, str | bool]:
        """What a DuckDB secret of type s3 takes."""
        found: dict[str, str | bool] = {
            "key_id": self.access_key_id,
            "secret": self.secret_access_key,
            "region": self.region,
            "use_ssl": self.uses_tls,
            "url_style": "vhost" if self.virtual_hosted else "path",
        }
        if self.endpoint:
            parts = urlsplit(self.endpoint)
            found["endpoint"] = parts.netloc + parts.path.rstrip("/")
        if self.session_token:
            found["session_token"] = self.session_token
        return found

    def secret_sql(self, scope: str) -> str:
        """The statement that gives DuckDB the keys for everything below `scope`. Never log it."""
        listed = ", ".join(
            f"{name} {literal(value) if isinstance(value, str) else str(value).lower()}"
            for name, value in {**self.options(), "scope": scope}.items()
        )
        return f"create or replace secret headrace (type s3, {listed})"


def object_store(environment: Mapping[str, str] = os.environ) -> ObjectStore:
    """The object store that the environment names.

    An endpoint of one's own is asked by path (`host/bucket/key`) unless AWS_VIRTUAL_HOSTED_STYLE_REQUEST says true.

    Raises:
        HeadraceError: the keys are missing, or the endpoint is no address or unencrypted and elsewhere.
    """
    found = {
        name: next((environment[variable] for variable in variables if environment.get(variable)), "")
        for name, variables in _VARIABLES.items()
    }
    missing = [_VARIABLES[name][0] for name in ("access_key_id", "secret_access_key") if not found[name]]
    if missing:
        raise HeadraceError(
            "the object store's keys are not in the environment",
            where="environment",
            expected="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            found=f"{' and '.join(missing)} not set",
            fix="set them for every process of the platform (see docs/s3.md)",
        )
    if found["endpoint"] and urlsplit(found["endpoint"]).scheme not in ("http", "https"):
        raise HeadraceError(
            "the object store's endpoint is no address",
            where="AWS_ENDPOINT_URL",
            expected="http://host:port or https://host",
            found="something else",
            fix="write it with its scheme",
        )
    store = ObjectStore(
        access_key_id=found["access_key_id"],
        secret_access_key=found["secret_access_key"],
        session_token=found["session_token"],
        region=found["region"] or "us-east-1",
        endpoint=found["endpoint"],
        virtual_hosted=(found["virtual_hosted"] or str(not found["endpoint"])).lower() in ("true", "1"),
    )
    if not store.uses_tls and not _is_loopback(store.endpoint):
        raise HeadraceError(
            "the object store would be asked in the clear",
            where="AWS_ENDPOINT_URL",
            expected="https://, or http:// on this machine only",
            found=store.endpoint,
            fix="give the store a certificate and write https://",
        )
    return store


def _is_loopback(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def dbt_secret(scope: str) -> dict[str, str]:
    """The same secret as dbt's profile has it: the profile is a file, so it says where the keys are, not what."""
    store = object_store()
    keys = {"key_id": "access_key_id", "secret": "secret_access_key", "session_token": "session_token"}
    named = {
        option: f"{{{{ env_var('{_VARIABLES[keys[option]][0]}') }}}}" if option in keys else str(value)
        for option, value in store.options().items()
    }
    return {"type": "s3", "name": "headrace", "scope": scope, **named}


def split_address(address: str) -> tuple[str, str]:
    """The bucket and the key or prefix of an `s3://` address, without slashes around.

    Raises:
        HeadraceError: it isn't one.
    """
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    if not address.startswith(SCHEME) or not bucket:
        raise HeadraceError(
            "this is no address in an object store",
            where=address,
            expected="s3://bucket/prefix/",
            found=address,
            fix="write the bucket behind s3://",
        )
    return bucket, key.strip("/")
