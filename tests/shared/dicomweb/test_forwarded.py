import pytest

from shared.dicomweb.forwarded import (
    Origin,
    external_origin,
    is_host,
    is_trusted,
    parse_networks,
)

DIRECT = Origin("http", "127.0.0.1:7071")


@pytest.mark.parametrize(
    ("headers", "root"),
    [
        ({}, "http://127.0.0.1:7071"),
        (
            {"x-forwarded-proto": "https", "x-forwarded-host": "pacs.example.org"},
            "https://pacs.example.org",
        ),
        (
            {"x-forwarded-host": "pacs.example.org:8443, inner", "x-forwarded-prefix": "/dicom/"},
            "http://pacs.example.org:8443/dicom",
        ),
        ({"forwarded": "for=1.2.3.4;proto=https;host=a.example"}, "https://a.example"),
        ({"forwarded": 'host="a.example:444"; proto=HTTPS, host=inner'}, "https://a.example:444"),
        ({"forwarded": "proto=https", "x-forwarded-host": "b.example"}, "https://b.example"),
        ({"forwarded": 'host="[2001:db8::1]:80"'}, "http://[2001:db8::1]:80"),
    ],
)
def test_the_origin_is_what_the_outermost_proxy_saw(headers: dict[str, str], root: str) -> None:
    assert external_origin(DIRECT, headers).root == root


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-host": 'a"b'},
        {"x-forwarded-host": "a.example/path"},
        {"x-forwarded-host": "a.example\r\nX: y"},
        {"x-forwarded-proto": "javascript"},
        {"x-forwarded-prefix": "//evil.example"},
        {"x-forwarded-prefix": "/a/../b c"},
        {"forwarded": "host=a@b;;=;proto"},
    ],
)
def test_what_is_malformed_changes_nothing(headers: dict[str, str]) -> None:
    assert external_origin(DIRECT, headers) == DIRECT


@pytest.mark.parametrize(
    ("client", "trusted"),
    [
        ("10.1.2.3", True),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8::5", True),
        ("testclient", False),
        (None, False),
    ],
)
def test_only_listed_proxies_are_trusted(client: str | None, *, trusted: bool) -> None:
    proxies = parse_networks("10.0.0.0/8, 192.0.2.7,2001:db8::/32")
    assert is_trusted(client, proxies) is trusted


def test_a_list_of_proxies_has_only_networks() -> None:
    with pytest.raises(ValueError, match="proxy"):
        parse_networks("10.0.0.0/8, proxy")


@pytest.mark.parametrize(("text", "valid"), [("a.b:1", True), ("a b", False), ("", False)])
def test_a_host_is_a_name_or_an_address(text: str, *, valid: bool) -> None:
    assert is_host(text) is valid
