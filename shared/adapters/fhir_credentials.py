"""What proves to a FHIR server who the app is: tokens of Entra ID or of SMART Backend Services.

Source: SMART App Launch 2.2, "Backend Services" and "Asymmetric Authentication".
"""

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import jwt
import orjson
import requests
from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientSecretCredential
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from urllib3.exceptions import HTTPError

from shared.errors import FhirAccessError, StoreUnavailableError

SMART_SCOPE = "system/*.cruds"

_CONFIGURATION = ".well-known/smart-configuration"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_SECONDS = 240
_USUAL_TOKEN_SECONDS = 300
_TIMEOUT_SECONDS = (3, 10)
_MAX_ANSWER_BYTES = 65_536


class SmartBackend:
    """Tokens for a backend service, in exchange for assertions that are signed with its key."""

    def __init__(
        self, base_url: str, client_id: str, key_pem: str, is_allowed: Callable[[str], bool]
    ) -> None:
        """Use the private key of a client.

        Raises:
            FhirAccessError: It is no key of P-384, or of RSA.
        """
        self._base_url = base_url
        self._client_id = client_id
        self._is_allowed = is_allowed
        self._key, self._algorithm = _private_key(key_pem)

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:  # noqa: ANN401 - as the SDK's
        """Get a token; the SDK keeps it until it is about to expire."""
        endpoint = self._token_endpoint()
        now = int(time.time())
        claims = {
            "iss": self._client_id,
            "sub": self._client_id,
            "aud": endpoint,
            "iat": now,
            "exp": now + _ASSERTION_SECONDS,
            "jti": uuid4().hex,
        }
        form = {
            "grant_type": "client_credentials",
            "scope": " ".join(scopes),
            "client_assertion_type": _ASSERTION,
            "client_assertion": jwt.encode(claims, self._key, self._algorithm),
        }
        answer = _asked("POST", endpoint, data=form)
        token = answer.get("access_token")
        if not isinstance(token, str):
            raise ClientAuthenticationError("The answer holds no token.")
        seconds = answer.get("expires_in", _USUAL_TOKEN_SECONDS)
        lifetime = seconds if isinstance(seconds, int) else _USUAL_TOKEN_SECONDS
        return AccessToken(token, now + lifetime)

    def _token_endpoint(self) -> str:
        endpoint = _asked("GET", f"{self._base_url}/{_CONFIGURATION}").get("token_endpoint")
        if not isinstance(endpoint, str) or not self._is_allowed(endpoint):
            # The assertion would be good for whoever gets it.
            raise ClientAuthenticationError("Tokens are given at a host that is not allowed.")
        return endpoint


def _private_key(pem: str) -> tuple[EllipticCurvePrivateKey | RSAPrivateKey, str]:
    """The key, and the algorithm that it signs with."""
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise FhirAccessError("The secret of the FHIR client is no private key.") from error
    if isinstance(key, EllipticCurvePrivateKey):
        return key, "ES384"
    if isinstance(key, RSAPrivateKey):
        return key, "RS384"
    raise FhirAccessError("The private key of the FHIR client is of the wrong kind.")


def application(authority: str, tenant_id: str, client_id: str, secret: str) -> TokenCredential:
    """An application of Entra ID that proves itself by its secret."""
    # The authority is a setting: nobody at the public cloud need be asked whether there is one.
    return ClientSecretCredential(
        tenant_id, client_id, secret, authority=authority, disable_instance_discovery=True
    )


def _asked(method: str, url: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    try:
        with requests.request(
            method,
            url,
            timeout=_TIMEOUT_SECONDS,
            allow_redirects=False,
            stream=True,
            headers={"Accept": "application/json"},
            **more,
        ) as response:
            content = response.raw.read(_MAX_ANSWER_BYTES, decode_content=True)
            status = response.status_code
    except (requests.RequestException, HTTPError) as error:
        raise StoreUnavailableError("What gives tokens for FHIR does not answer now.") from error
    if status == requests.codes.too_many or status >= requests.codes.server_error:
        raise StoreUnavailableError("What gives tokens for FHIR does not answer now.")
    try:
        found = orjson.loads(content) if status == requests.codes.ok else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ClientAuthenticationError("No token was given.")
    return found
