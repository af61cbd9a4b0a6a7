import pytest

from shared.dicomweb.content_coding import accepts_gzip


@pytest.mark.parametrize(
    "header",
    ["gzip", "GZIP", "deflate, gzip;q=0.5, br", "*", "*;q=0, gzip", "gzip ; q=1.0", "identity, *"],
)
def test_gzip_is_taken_where_it_is_named_or_anything_is(header: str) -> None:
    assert accepts_gzip(header)


@pytest.mark.parametrize(
    "header", [None, "", "identity", "gzip;q=0", "gzip; q=0.000, *", "*;q=0", "gzipped", "br;q=1"]
)
def test_gzip_is_not_taken_otherwise(header: str | None) -> None:
    assert not accepts_gzip(header)
