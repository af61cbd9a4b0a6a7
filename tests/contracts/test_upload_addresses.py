"""Addresses for uploads, signed with a key of the account or one got for an identity."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
import requests
import trustme
from azure.core.credentials import AccessToken

from localhost.azurite import azurite
from shared.adapters.azure_account import StorageAccount
from shared.adapters.azure_uploads import AzureUploads

# The first time, the emulator is installed.
pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

HOUR = timedelta(hours=1)
TENANT = "11111111-1111-1111-1111-111111111111"
OBJECT = "22222222-2222-2222-2222-222222222222"


class Identity:
    """An identity as the emulator takes it: it reads tokens, and does not check who signed them."""

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        now = int(time.time())
        claims = {
            "iss": f"https://sts.windows.net/{TENANT}/",
            "aud": "https://storage.azure.com",
            "iat": now - 5,
            "nbf": now - 5,
            "exp": now + 3600,
            "oid": OBJECT,
            "tid": TENANT,
        }
        return AccessToken(jwt.encode(claims, "k" * 32, algorithm="HS256"), now + 3600)


@pytest.fixture(scope="module")
def with_identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageAccount]:
    folder = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    options = ["--oauth", "basic"]
    options += ["--cert", str(folder / "cert.pem"), "--key", str(folder / "key.pem")]
    with pytest.MonkeyPatch.context() as patch, azurite(options=options) as emulator:
        patch.setenv("REQUESTS_CA_BUNDLE", str(folder / "ca.pem"))
        uri = f"{emulator.endpoints['blob']}/devstoreaccount1"
        account = StorageAccount(blob_uri=uri, table_uri=uri)
        # In the place of the one that Azure gives an app.
        account.__dict__["_credential"] = Identity()
        yield account
        account.blobs.close()


@pytest.fixture(params=["key", "identity"])
def uploads(request: pytest.FixtureRequest) -> AzureUploads:
    fixture = "account" if request.param == "key" else "with_identity"
    return AzureUploads(request.getfixturevalue(fixture), "inbox")


async def test_an_address_allows_to_make_one_file_and_nothing_else(
    uploads: AzureUploads, tmp_path: Path
) -> None:
    name = f"p/{tmp_path.name}-{time.time_ns()}.dcm"
    before = datetime.now(UTC)
    address = await uploads.issue(name, HOUR)
    assert timedelta(0) <= address.expires - before + timedelta(seconds=1) <= HOUR * 1.1
    url, headers = address.url, address.headers
    assert requests.put(url, b"first", headers=headers, timeout=60).status_code == 201
    assert requests.put(url, b"again", headers=headers, timeout=60).status_code in {403, 409}
    assert requests.get(url, timeout=60).status_code == 403
    assert requests.delete(url, timeout=60).status_code == 403
    other = url.replace(".dcm?", ".other?")
    assert requests.put(other, b"other", headers=headers, timeout=60).status_code == 403
    assert url not in repr(address)


async def test_an_address_expires(uploads: AzureUploads) -> None:
    address = await uploads.issue(f"p/late-{time.time_ns()}.dcm", timedelta(seconds=-1))
    late = requests.put(address.url, b"late", headers=address.headers, timeout=60)
    assert late.status_code == 403


async def test_the_key_of_an_identity_is_got_once_for_many_addresses(
    with_identity: StorageAccount,
) -> None:
    uploads = AzureUploads(with_identity, "inbox")
    key = "&skt="
    first, second = [await uploads.issue(f"p/{n}", HOUR) for n in range(2)]
    last = await uploads.issue("p/last", timedelta(days=5))
    starts = [a.url.partition(key)[2].partition("&sig")[0] for a in (first, second, last)]
    assert starts[0]
    assert starts[0] == starts[1]
    assert starts[0] != starts[2], "the first key would not have lasted"
