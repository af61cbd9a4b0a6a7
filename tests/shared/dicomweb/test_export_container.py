import pytest

from shared.dicomweb.export_container import Authorization, parse_container
from shared.errors import InvalidRequestError

URL = "https://acct.blob.core.windows.net/exports"
SAS = "sv=2024&sig=a%2Bb"
EMULATOR = "http://127.0.0.1:10000/devstoreaccount1"


@pytest.mark.parametrize(
    ("settings", "url", "authorization"),
    [
        ({"blobContainerUri": URL}, URL, Authorization.NONE),
        ({"blobContainerUri": f"{URL}/?{SAS}"}, URL, Authorization.SAS),
        ({"blobContainerUri": URL, "useManagedIdentity": True}, URL, Authorization.IDENTITY),
        (
            {
                "connectionString": f"AccountName=acct;SharedAccessSignature={SAS}",
                "blobContainerName": "exports",
            },
            URL,
            Authorization.SAS,
        ),
        (
            {"connectionString": "UseDevelopmentStorage=true", "blobContainerName": "exports"},
            f"{EMULATOR}/exports",
            Authorization.ACCOUNT_KEY,
        ),
    ],
)
def test_a_container_is_named_in_several_ways(
    settings: dict[str, object], url: str, authorization: Authorization
) -> None:
    container = parse_container(settings)
    assert (container.url, container.authorization) == (url, authorization)
    assert "sig" not in repr(container)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"blobContainerUri": 1},
        {"blobContainerUri": URL, "connectionString": "AccountName=a"},
        {"blobContainerUri": URL, "blobContainerName": "exports"},
        {"connectionString": "AccountName=a"},
        {"blobContainerName": "exports"},
        {"connectionString": "AccountName=a;AccountKey=a2V5", "blobContainerName": "exports"},
        {"connectionString": "nonsense", "blobContainerName": "exports"},
        {"connectionString": "EndpointSuffix=x", "blobContainerName": "exports"},
        {
            "connectionString": "AccountName=a;SharedAccessSignature=x",
            "blobContainerName": "exports",
        },
        {
            "connectionString": f"AccountName=a;SharedAccessSignature={SAS}",
            "blobContainerName": "exports",
            "useManagedIdentity": True,
        },
        {"blobContainerUri": f"{URL}?{SAS}", "useManagedIdentity": True},
        {"blobContainerUri": URL, "useManagedIdentity": "yes"},
        {"blobContainerUri": f"{URL}?comp=list"},
        {"blobContainerUri": f"{URL}/folder"},
        {"blobContainerUri": "https://acct.blob.core.windows.net/"},
        {"blobContainerUri": "https://acct.blob.core.windows.net/$web"},
        {"blobContainerUri": "https://acct.blob.core.windows.net/../x"},
        {"blobContainerUri": "https://user:word@acct.blob.core.windows.net/exports"},
        {"blobContainerUri": "https://allowed.net\\@evil.net/exports"},
        {"blobContainerUri": "file:///etc/passwd"},
        {"blobContainerUri": "https://[::1]/exports"},
        {"blobContainerUri": "https://host:port/exports"},
        {"blobContainerUri": f"{URL}#part"},
    ],
)
def test_what_names_no_container_or_too_much_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError, match=r"destination\.settings"):
        parse_container(settings)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        (URL, ("acct.blob.core.windows.net",)),
        (URL, ("other.net", "*.blob.core.windows.net")),
        (URL, ("ACCT.blob.core.windows.net:443",)),
        ("https://acct.net:8443/exports", ("acct.net:8443",)),
        (f"{EMULATOR}/exports", ("127.0.0.1:10000",)),
        ("http://acct.net/exports", ("acct.net:80",)),
    ],
)
def test_hosts_that_are_listed_are_allowed(url: str, hosts: tuple[str, ...]) -> None:
    assert parse_container({"blobContainerUri": url}).is_allowed_by(hosts)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        (URL, ()),
        (URL, ("blob.core.windows.net",)),
        (URL, ("*.acct.blob.core.windows.net",)),
        ("https://evilblob.core.windows.net/exports", ("*.blob.core.windows.net",)),
        ("https://blob.core.windows.net.evil.net/exports", ("*.blob.core.windows.net",)),
        ("https://acct.net:8443/exports", ("acct.net",)),
        ("http://acct.net/exports", ("acct.net",)),
        ("http://acct.net:443/exports", ("acct.net",)),
        (f"{EMULATOR}/exports", ("127.0.0.1",)),
        ("https://169.254.169.254/exports", ("*.blob.core.windows.net",)),
    ],
)
def test_all_other_hosts_are_not(url: str, hosts: tuple[str, ...]) -> None:
    assert not parse_container({"blobContainerUri": url}).is_allowed_by(hosts)
