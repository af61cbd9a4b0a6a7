"""The documents of the corpus against the JSON that pydicom itself makes: an independent judge."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom

from shared.dicom.header import Header, Limits, NeedsPydicom
from shared.dicom.part10 import scan
from shared.dicom.pydicom_reader import read_with_pydicom
from shared.errors import InvalidInstanceError
from tests.shared.dicom import corpus

_INLINE = Limits(bulk_threshold=1 << 30, max_value_length=1 << 30, max_held_length=1 << 31)
_PIXEL_DATA = {"7FE00008", "7FE00009", "7FE00010"}
_CHARACTER_SET = "00080005"
_BETTER_THAN_PYDICOM = {
    ("pydicom__badVR.dcm", "00280008"),  # An IS of "1A": pydicom leaves it out.
    ("s14_is_float.dcm", "00200013"),  # An IS of "12.5": pydicom rounds it.
    ("s158_empty_and_null_values.dcm", "00281053"),  # A DS with an empty value: pydicom gives up.
}


def read(path: Path) -> Header:
    content = path.read_bytes()
    try:
        return scan(content, _INLINE)
    except NeedsPydicom:
        return read_with_pydicom(io.BytesIO(content), _INLINE)


def theirs(path: Path) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
        list(dataset.iterall())  # Decodes the text of every item by its own character set.
        return dataset.to_json_dict(bulk_data_threshold=1 << 40, suppress_invalid_tags=True)


def _tidy(element: dict[str, Any]) -> dict[str, Any]:
    """Without the padding that pydicom leaves within values, and null for an empty one."""
    if "Value" not in element:
        return element
    values = (v.rstrip(" ") if isinstance(v, str) else v for v in element["Value"])
    return {**element, "Value": [v if v != "" else None for v in values]}


def differences(
    ours: dict[str, Any], theirs: dict[str, Any], *, is_nested: bool = False
) -> Iterator[str]:
    for tag in ours.keys() | theirs.keys():
        if tag.endswith("0000") or tag == _CHARACTER_SET:
            continue  # Group lengths are left out; text is UTF-8 and says so.
        if tag in _PIXEL_DATA and not is_nested:
            continue  # Always by reference.
        if int(tag[:4], 16) & 1 and ours.get(tag, {}).get("vr") == "UN":
            continue  # pydicom guesses the VR of private attributes from a dictionary.
        mine, other = ours.get(tag, {}), theirs.get(tag, {})
        items, others = mine.get("Value", []), other.get("Value", [])
        if mine.get("vr") == other.get("vr") == "SQ" and len(items) == len(others):
            for item, its_twin in zip(items, others, strict=True):
                yield from (f"{tag}.{d}" for d in differences(item, its_twin, is_nested=True))
        elif mine != _tidy(other):
            yield tag


@corpus.by_file
def test_the_document_is_the_one_that_pydicom_makes(path: Path) -> None:
    try:
        header = read(path)
    except InvalidInstanceError:
        assert corpus.expected(path) == "must-refuse"
        return
    expected = {tag for name, tag in _BETTER_THAN_PYDICOM if name == path.name}
    assert set(differences(header.document, theirs(path))) == expected
    assert list(header.document) == sorted(header.document)


def test_the_scan_itself_reads_all_but_rare_encodings() -> None:
    scanned = 0
    for path in corpus.FILES:
        try:
            scan(path.read_bytes())
        except (NeedsPydicom, InvalidInstanceError):
            continue
        scanned += 1
    assert scanned > 0.85 * len(corpus.FILES)
