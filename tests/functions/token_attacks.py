"""Tokens that must open nothing, each by what is wrong with it."""

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.issuer import AUDIENCE, TENANT, Issuer, encoded, jwk, private_key, signed, signed_parts

type Attack = Callable[[Issuer], str]

OTHER_TENANT = "99999999-2222-3333-4444-555555555555"


def _hs256(secret: bytes) -> Attack:
    def token(issuer: Issuer) -> str:
        content = f"{encoded({'alg': 'HS256', 'kid': 'key-1'})}.{encoded(issuer.claims())}"
        return f"{content}.{encoded(hmac.digest(secret, content.encode(), hashlib.sha256))}"

    return token


def _public_forms() -> list[bytes]:
    key = private_key(1).public_key()
    forms = [
        key.public_bytes(encoding, form)
        for form in (PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1)
        for encoding in (Encoding.PEM, Encoding.DER)
    ]
    return [*forms, json.dumps(jwk(private_key(1), "key-1")).encode()]


def _unsigned(algorithm: object) -> Attack:
    def token(issuer: Issuer) -> str:
        return f"{encoded({'alg': algorithm, 'kid': 'key-1'})}.{encoded(issuer.claims())}."

    return token


def _with(**changes: object) -> Attack:
    return lambda issuer: signed(issuer.claims(**changes), {"kid": "key-1"})


def _headed(number: int = 1, **header: object) -> Attack:
    return lambda issuer: signed(issuer.claims(), {"kid": "key-1", **header}, private_key(number))


def _twice(issuer: Issuer) -> str:
    """A token that readers differ about: the last of two equal names counts for some."""
    claims = json.dumps(issuer.claims()).encode()
    doubled = b'{"aud": "api://other", ' + claims[1:]
    return signed_parts(encoded({"alg": "RS256", "kid": "key-1"}), encoded(doubled))


def _without_signature(issuer: Issuer) -> str:
    return issuer.token().rpartition(".")[0]


def _of_another_content(issuer: Issuer) -> str:
    head, _, signature = issuer.token("Dicom.Read").split(".")
    return ".".join([head, encoded(issuer.claims()), signature])


NOW = int(time.time())
KEY_IDS = [
    "../../../../etc/passwd",
    "/dev/null",
    "https://attacker.test/keys",
    "key-1' OR '1'='1",
    "key-1\0",
    "KEY-1",
    "",
    "k" * 300,
    ["key-1"],
    {"kid": "key-1"},
    1,
    None,
    True,
]
ATTACKS: dict[str, Attack] = {
    **{
        f"unsigned, alg {name!r}": _unsigned(name)
        for name in ("none", "None", "NONE", "nOnE", "", None, ["RS256"], "RS256")
    },
    **{f"kid {name!r:.30}": _headed(kid=name) for name in KEY_IDS},
    **{
        f"HS256 with the public key, form {number}": _hs256(form)
        for number, form in enumerate(_public_forms())
    },
    "HS256 with nothing": _hs256(b""),
    "another audience": _with(aud="api://other"),
    "an audience that begins likewise": _with(aud=AUDIENCE + "/x"),
    "no audience": _with(aud=None),
    "an empty list of audiences": _with(aud=[]),
    "a number as audience": _with(aud=7),
    "another issuer": _with(iss="https://attacker.test/v2.0"),
    "an issuer with more behind": lambda issuer: issuer.token(iss=issuer.name + "/"),
    "the issuer of another tenant": lambda issuer: issuer.token(
        iss=issuer.name.replace(TENANT, OTHER_TENANT)
    ),
    "a list of issuers": lambda issuer: issuer.token(iss=[issuer.name]),
    "no issuer": _with(iss=None),
    "another tenant": _with(tid=OTHER_TENANT),
    "no tenant": _with(tid=None),
    "expired": _with(exp=NOW - 120),
    "expired long ago": _with(exp=0),
    "no expiry": _with(exp=None),
    "a text as expiry": _with(exp="tomorrow"),
    "an endless expiry": _with(exp=float("inf")),
    "not valid yet": _with(nbf=NOW + 600),
    "no beginning": _with(nbf=None),
    "issued tomorrow": _with(iat=NOW + 86_400),
    "nobody's": _with(oid=None),
    "no subject": _with(sub=None),
    "an ID token": _with(azp=None, nonce="x"),
    "an ID token with an azp": _with(sub="pairwise"),
    "roles as a text": _with(roles="Dicom.Administer"),
    "roles as an object": _with(roles={"Dicom.Administer": True}),
    "scopes as a list": _with(scp=["Dicom.Read"]),
    "signed by another key": _headed(2),
    "signed by a key that comes with it": _headed(2, jwk=jwk(private_key(2), "key-1")),
    "signed by a key at an address": _headed(2, jku="http://127.0.0.1:9/keys"),
    "signed by a certificate at an address": _headed(2, x5u="http://127.0.0.1:9/x"),
    "signed by a certificate that comes with it": _headed(2, x5c=["MIIB"]),
    "critical extension": _headed(crit=["exp"]),
    "empty list of critical extensions": _headed(crit=[]),
    "detached content": _headed(b64=False),
    "PS256": _headed(alg="PS256"),
    "RS512": _headed(alg="RS512"),
    "rs256": _headed(alg="rs256"),
    "a proof of possession": _headed(typ="dpop+jwt"),
    "a number as type": _headed(typ=7),
    "nested": lambda issuer: signed(
        issuer.token().encode(),
        {"kid": "key-1", "cty": "JWT"},
    ),
    "encrypted": lambda _: ".".join(
        [encoded({"alg": "RSA-OAEP", "enc": "A256GCM", "kid": "key-1"}), "a", "b", "c", "d"]
    ),
    "a claim twice": _twice,
    "a header twice": lambda issuer: signed_parts(
        encoded(b'{"alg": "none", "alg": "RS256", "kid": "key-1"}'), encoded(issuer.claims())
    ),
    "another content under the signature": _of_another_content,
    "without its signature": _without_signature,
    "with an empty signature": lambda issuer: _without_signature(issuer) + ".",
    "claims that are no object": lambda _: signed(b"[1]", {"kid": "key-1"}),
    "claims that are no JSON": lambda _: signed(b"\xff", {"kid": "key-1"}),
    "a header that is no object": lambda issuer: signed_parts(
        encoded(b"[]"), encoded(issuer.claims())
    ),
    "a header without end": lambda issuer: signed_parts(
        encoded(b"[" * 6000), encoded(issuer.claims())
    ),
    "claims without end": lambda _: signed(b"[" * 6000, {"kid": "key-1"}),
    "huge": _with(groups=["x" * 36] * 1000),
    "no token": lambda _: "",
    "dots": lambda _: "..",
    "many dots": lambda _: "." * 5000,
    "no base64": lambda _: "a.b.c",
    "another alphabet": lambda issuer: urlsafe_b64encode(issuer.token().encode()).decode(),
}
