"""Instances as the index takes them, without the DICOM files they would come from."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shared.dicom.blob_names import new_blob_id
from shared.dicom.json_model import Document, Element
from shared.dicom.resource import Level, ResourcePath
from shared.dicom.searchable import tag_of
from shared.dicom.uid import Uid
from shared.dicom.value_representation import element
from shared.ports import InstanceFile, NewInstance

STUDY = {"PatientID": "12345", "PatientName": "Doe^John", "StudyDate": "20260101"}
SERIES = {"Modality": "CT"}


def path(study: int = 1, series: int = 1, instance: int | None = 1) -> ResourcePath:
    """A path of small numbers, down to a series when `instance` is None."""
    return ResourcePath(
        study_uid(study),
        Uid(f"2.25.{study}.{series}"),
        None if instance is None else Uid(f"2.25.{study}.{series}.{instance}"),
    )


def study_uid(study: int = 1) -> Uid:
    """The UID of a study."""
    return Uid(f"2.25.{study}")


def attributes(values: Mapping[str, object]) -> Document:
    """A document of single values by keyword; "" and None make an empty element."""
    return dict(sorted(map(_element, values.items())))


def _element(item: tuple[str, object]) -> tuple[str, Element]:
    from pydicom.datadict import dictionary_VR

    keyword, value = item
    vr = dictionary_VR(keyword)
    if value is None or value == "":
        return tag_of(keyword), {"vr": vr}
    if vr == "PN":
        value = {"Alphabetic": value}
    if vr == "SQ":
        items: list[Any] = value if isinstance(value, list) else [value]
        return tag_of(keyword), element(vr, [attributes(item) for item in items])
    return tag_of(keyword), element(vr, [value])


def new_instance(
    at: ResourcePath | None = None,
    *,
    study: Mapping[str, object] = STUDY,
    series: Mapping[str, object] = SERIES,
    instance: Mapping[str, object] | None = None,
    content: bytes = b"",
) -> NewInstance:
    """An instance with a fresh blob."""
    at = at or path()
    identity = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "SOPInstanceUID": at.instance}
    return NewInstance(
        at,
        InstanceFile(
            new_blob_id(), 1234, hashlib.sha256(content).hexdigest(), "1.2.840.10008.1.2.1", 980
        ),
        {
            Level.STUDY: attributes({"StudyInstanceUID": at.study, **study}),
            Level.SERIES: attributes({"SeriesInstanceUID": at.series, **series}),
            Level.INSTANCE: attributes({**identity, **(instance or {})}),
        },
    )


def with_frames(item: NewInstance, frames: str) -> NewInstance:
    """The same instance with a frame map."""
    return replace(item, file=replace(item.file, frames=frames))
