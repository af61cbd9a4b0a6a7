from shared.dicomweb.cors import CorsRule

VIEWER = "https://viewer.example"


def test_without_origins_nothing_is_said() -> None:
    assert CorsRule().headers(VIEWER) == {}


def test_a_listed_origin_may_read_the_answer() -> None:
    headers = CorsRule([VIEWER]).headers(VIEWER)
    assert headers["Access-Control-Allow-Origin"] == VIEWER
    assert headers["Vary"] == "Origin"
    assert "ETag" in headers["Access-Control-Expose-Headers"]


def test_another_origin_may_not() -> None:
    assert CorsRule([VIEWER]).headers("https://evil.example") == {"Vary": "Origin"}


def test_a_star_lets_all_read_without_credentials() -> None:
    headers = CorsRule(["*"]).headers(None)
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in headers


def test_a_preflight_is_told_the_methods_and_the_headers_it_asked_for() -> None:
    headers = CorsRule([VIEWER]).preflight(VIEWER, ["GET", "POST"], "x-custom, bad:header")
    assert headers["Access-Control-Allow-Methods"] == "GET, POST"
    assert headers["Access-Control-Allow-Headers"].endswith(", x-custom")
    assert "Authorization" in headers["Access-Control-Allow-Headers"]


def test_a_preflight_of_another_origin_is_told_nothing() -> None:
    assert CorsRule([VIEWER]).preflight("https://evil.example", ["GET"], None) == {"Vary": "Origin"}
