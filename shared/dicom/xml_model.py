"""The Native DICOM Model: documents as XML, and back.

Standard: PS3.19 Annex A.1 (2025b).
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from xml.sax.saxutils import escape

from pydicom.datadict import keyword_for_tag

from shared.dicom.header import Limits
from shared.dicom.value_representation import Document, Element
from shared.dicom.xml_reading import (
    NAMESPACE,
    NO_BLOCK,
    PERSON_NAME_COMPONENTS,
    PERSON_NAME_GROUPS,
    read,
)

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    f'<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">'
)
_TAIL = "</NativeDicomModel>"
# The characters that XML 1.0 cannot hold, not even as a reference (XML 1.0, 2.2).
_IMPOSSIBLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_SPECIAL = re.compile('[&<>"\0-\x1f\ud800-\udfff\ufffe\uffff]')
_REPLACEMENT = "\ufffd"
# A parser makes line feeds of carriage returns, and in an attribute spaces of all white space.
_IN_TEXT = {"\r": "&#13;"}
_IN_ATTRIBUTE = {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;", '"': "&quot;"}


def dumps(document: Document) -> bytes:
    """A document as XML in UTF-8.

    A character that XML 1.0 has no way to write, most control characters among them, becomes
    U+FFFD: to drop it would join what it kept apart, and hide that something was there.
    """
    parts = [_HEAD]
    _write_data_set(document, parts)
    parts.append(_TAIL)
    return "".join(parts).encode()


def loads(content: bytes, limits: Limits | None = None) -> Document:
    """The document that is written in XML; its namespace may be left out, as older editions had it.

    Raises:
        InvalidRequestError: It is not well-formed, has a document type declaration, or is
            something else than the Native DICOM Model.
        InvalidInstanceError: A value is none of its VR, or a bound is broken.
    """
    return read(content, limits or Limits())


def _write_data_set(document: Document, parts: list[str]) -> None:
    blocks: dict[str, str] = {}
    for tag, element in document.items():
        # Most attributes are of the Standard, and their tags open in few ways.
        is_private = tag[3] in "13579BDF"
        vr = element["vr"]
        parts.append(_private(document, tag, blocks) if is_private else _opening(tag, vr))
        _write_content(element, parts)
        parts.append("</DicomAttribute>")


@lru_cache(maxsize=8192)
def _opening(tag: str, vr: str) -> str:
    keyword = keyword_for_tag(int(tag, 16))
    known = f' keyword="{keyword}"' if keyword else ""
    return f'<DicomAttribute tag="{tag}" vr="{vr}"{known}>'


def _private(document: Document, tag: str, blocks: dict[str, str]) -> str:
    """Open a private attribute, whose tag tells its block only where its creator does not.

    `blocks` gathers the first block of each creator in each group; creators come before their
    attributes.
    """
    vr = document[tag]["vr"]
    group, block, number = tag[:4], tag[4:6], tag[6:]
    if block == NO_BLOCK:
        creator = _first_text(document.get(tag))
        if creator:
            blocks.setdefault(group + creator, number)
        return _opening(tag, vr)
    creator = _first_text(document.get(f"{group}{NO_BLOCK}{block}"))
    if not creator:
        return _opening(tag, vr)
    if blocks.get(group + creator) == block:
        tag = group + NO_BLOCK + number
    return f'<DicomAttribute tag="{tag}" vr="{vr}" privateCreator="{_attribute(creator)}">'


def _first_text(element: Element | None) -> str | None:
    first = element["Value"][0] if element and "Value" in element else None
    return first if isinstance(first, str) else None


def _write_content(element: Element, parts: list[str]) -> None:
    if "Value" in element:
        _WRITE.get(element["vr"], _write_values)(element["Value"], parts)
    elif "InlineBinary" in element:
        parts.append(f"<InlineBinary>{element['InlineBinary']}</InlineBinary>")
    elif "BulkDataURI" in element:
        parts.append(f'<BulkData uri="{_attribute(element["BulkDataURI"])}"/>')


def _write_values(values: Sequence[Any], parts: list[str]) -> None:
    for number, value in enumerate(values, 1):
        parts.append(f'<Value number="{number}">{_text(value)}</Value>')


def _write_items(items: Sequence[Document], parts: list[str]) -> None:
    for number, item in enumerate(items, 1):
        parts.append(f'<Item number="{number}">')
        _write_data_set(item, parts)
        parts.append("</Item>")


def _write_names(names: Sequence[dict[str, str] | None], parts: list[str]) -> None:
    for number, name in enumerate(names, 1):
        groups = "".join(
            f"<{group}>{_components(name[group])}</{group}>"
            for group in PERSON_NAME_GROUPS
            if name and group in name
        )
        parts.append(f'<PersonName number="{number}">{groups}</PersonName>')


def _components(group: str) -> str:
    """The components of a name; an empty one is left out but at the end, where it tells a caret."""
    texts = group.split("^", len(PERSON_NAME_COMPONENTS) - 1)
    last = len(texts) - 1
    return "".join(
        f"<{name}>{_text(text)}</{name}>"
        for index, (name, text) in enumerate(zip(PERSON_NAME_COMPONENTS, texts, strict=False))
        if text or index == last
    )


_WRITE: dict[str, Callable[[Sequence[Any], list[str]], None]] = {
    "PN": _write_names,
    "SQ": _write_items,
}


def _text(value: Any) -> str:  # noqa: ANN401 - as many types as VRs
    if not isinstance(value, str):
        return "" if value is None else repr(value)
    return _escaped(value, _IN_TEXT) if _SPECIAL.search(value) else value


def _attribute(text: str) -> str:
    return _escaped(text, _IN_ATTRIBUTE) if _SPECIAL.search(text) else text


def _escaped(text: str, entities: dict[str, str]) -> str:
    return escape(_IMPOSSIBLE.sub(_REPLACEMENT, text), entities)
