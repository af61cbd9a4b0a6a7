"""The blob container that an export goes to, and how it is reached.

Source: Azure Storage documentation, "Configure Azure Storage connection strings" and "Grant limited
access to Azure Storage resources using shared access signatures (SAS)".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import parse_qs, urlsplit

from shared.errors import InvalidRequestError

_CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}\Z")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?\Z")
_EMULATOR = "devstoreaccount1"
_EMULATOR_HOST = "http://127.0.0.1:10000/devstoreaccount1"
# Published by Microsoft: it protects nothing.
_EMULATOR_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_PORTS = {"https": 443, "http": 80}


class Authorization(Enum):
    """How the app proves to a container that it may write there."""

    SAS = "sas"
    ACCOUNT_KEY = "accountKey"
    IDENTITY = "identity"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class BlobContainer:
    """A container of any storage account.

    Attributes:
        url: Its address, without any secret and final slash.
        secret: The signature or, for the storage emulator alone, the account key.
    """

    url: str
    authorization: Authorization
    secret: str = field(default="", repr=False)

    @property
    def authority(self) -> str:
        """Host and port, the port always."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port or _PORTS[parts.scheme]}"

    @property
    def service_url(self) -> str:
        """The blob service of the account."""
        return self.url.rpartition("/")[0]

    @property
    def service(self) -> tuple[str, str]:
        """What tells blob services apart: host with port, and the path before the container."""
        return self.authority, urlsplit(self.service_url).path

    @property
    def name(self) -> str:
        """What it is called in its account."""
        return self.url.rpartition("/")[2]

    def is_allowed_by(self, hosts: tuple[str, ...]) -> bool:
        """Whether one of the hosts that are allowed is its own.

        Without a port, that of HTTPS is meant; `*.` stands for one or more names before the rest.
        Only a host that is listed with its port may be spoken to without encryption.
        """
        parts = urlsplit(self.url)
        for entry in hosts:
            host, _, port = entry.lower().partition(":")
            if parts.scheme != "https" and not port:
                continue
            if self.authority.rpartition(":")[2] != (port or "443"):
                continue
            if host.startswith("*.") and str(parts.hostname).endswith(host[1:]):
                return True
            if host == parts.hostname:
                return True
        return False


def parse_container(settings: Mapping[str, Any]) -> BlobContainer:
    """Read the settings of a destination.

    Raises:
        InvalidRequestError: They are incomplete, contradict each other, or hold an account key.
    """
    uri, text = _text(settings, "blobContainerUri"), _text(settings, "connectionString")
    name, by_identity = _text(settings, "blobContainerName"), settings.get("useManagedIdentity")
    if by_identity not in (None, True, False):
        raise _wrong("useManagedIdentity", "it must be true or false")
    if uri and (text or name):
        raise _wrong("blobContainerUri", "give either it, or a connection string and a name")
    if uri:
        return _of_uri(uri, by_identity=bool(by_identity))
    if not (text and name):
        raise _wrong("blobContainerUri", "give it, or a connection string and a container name")
    if by_identity:
        raise _wrong("useManagedIdentity", "a connection string does without")
    return _of_connection_string(text, name)


def _of_uri(uri: str, *, by_identity: bool) -> BlobContainer:
    address, _, query = uri.partition("?")
    url = _container_url(address, "blobContainerUri")
    if query and "sig" not in parse_qs(query):
        raise _wrong("blobContainerUri", "its query is no shared access signature")
    if query and by_identity:
        raise _wrong("useManagedIdentity", "a shared access signature does without")
    if query:
        return BlobContainer(url, Authorization.SAS, query)
    return BlobContainer(url, Authorization.IDENTITY if by_identity else Authorization.NONE)


def _of_connection_string(text: str, name: str) -> BlobContainer:
    fields = dict(_fields(text))
    is_emulator = fields.get("accountname") == _EMULATOR
    if fields.get("usedevelopmentstorage", "").lower() == "true":
        fields = {"blobendpoint": _EMULATOR_HOST, "accountkey": _EMULATOR_KEY}
        is_emulator = True
    key, sas = fields.get("accountkey", ""), fields.get("sharedaccesssignature", "").lstrip("?")
    if key and not (is_emulator and key == _EMULATOR_KEY):
        raise _wrong("connectionString", "it must not have an account key")
    url = _container_url(f"{_endpoint(fields).rstrip('/')}/{name}", "connectionString")
    if key:
        return BlobContainer(url, Authorization.ACCOUNT_KEY, key)
    if not sas:
        return BlobContainer(url, Authorization.NONE)
    if "sig" not in parse_qs(sas):
        raise _wrong("connectionString", "it has no shared access signature")
    return BlobContainer(url, Authorization.SAS, sas)


def _endpoint(fields: Mapping[str, str]) -> str:
    if "blobendpoint" in fields:
        return fields["blobendpoint"]
    if "accountname" not in fields:
        raise _wrong("connectionString", "it names neither an endpoint nor an account")
    scheme = fields.get("defaultendpointsprotocol", "https")
    suffix = fields.get("endpointsuffix", "core.windows.net")
    return f"{scheme}://{fields['accountname']}.blob.{suffix}"


def _fields(text: str) -> list[tuple[str, str]]:
    fields = []
    for part in filter(None, text.split(";")):
        name, equals, value = part.partition("=")
        if not equals:
            raise _wrong("connectionString", "it is malformed")
        fields.append((name.strip().lower(), value.strip()))
    return fields


def _container_url(address: str, setting: str) -> str:
    """The address of a container in one spelling: nothing but scheme, host, port and path."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise _wrong(setting, "it is no address") from error
    host = parts.hostname or ""
    segments = parts.path.strip("/").split("/")
    is_plain = parts.scheme in _PORTS and _HOST.match(host) and "@" not in parts.netloc
    if not is_plain or parts.query or parts.fragment:
        raise _wrong(setting, "it is no address of a container")
    # Only the emulator has the account in the path.
    is_one_segment = len(segments) == 1
    if not (is_one_segment or (len(segments) == 2 and segments[0] == _EMULATOR)):  # noqa: PLR2004
        raise _wrong(setting, "it is no address of a container")
    if not _CONTAINER.match(segments[-1]):
        raise _wrong(setting, "it does not name a container")
    authority = host if port in (None, _PORTS[parts.scheme]) else f"{host}:{port}"
    return f"{parts.scheme}://{authority}/{'/'.join(segments)}"


def _text(settings: Mapping[str, Any], name: str) -> str:
    value = settings.get(name)
    if value is not None and not isinstance(value, str):
        raise _wrong(name, "it must be a text")
    return (value or "").strip()


def _wrong(name: str, reason: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"The field 'destination.settings.{name}' in request body is invalid: {reason}."
    )
