import pytest

from shared.dicomweb.conditional import entity_tag, is_unchanged


def test_the_tag_of_an_instance_is_its_revision() -> None:
    assert entity_tag(7, None, version=2) == '"7"'


def test_the_tag_of_a_series_is_its_revision_and_number_of_instances() -> None:
    assert entity_tag(7, 3, version=2) == '"7-3"'


def test_v1_leaves_the_quotes_out() -> None:
    assert entity_tag(7, 3, version=1) == "7-3"


@pytest.mark.parametrize("etag", ['"7-3"', "7-3"])
@pytest.mark.parametrize(
    "header", ['"7-3"', "7-3", ' "7-3" ', 'W/"7-3"', '"1", W/"7-3"', '"1","7-3","9"', "*"]
)
def test_a_tag_that_is_named_in_any_form_is_unchanged(header: str, etag: str) -> None:
    assert is_unchanged(header, etag)


@pytest.mark.parametrize(
    "header", [None, "", '"7-4"', "7", '"7-3', '"7-30", "17-3"', '"*"', "7-3 x"]
)
def test_any_other_header_is_changed(header: str | None) -> None:
    assert not is_unchanged(header, '"7-3"')
