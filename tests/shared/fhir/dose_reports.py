"""Radiation dose reports as their makers write them (PS3.16 TID 10001, 10011, 10021)."""

from collections.abc import Sequence

from pydicom.dataset import Dataset

from tests.builders import dataset

XRAY_DOSE = "1.2.840.10008.5.1.4.1.1.88.67"
RADIOPHARMACEUTICAL_DOSE = "1.2.840.10008.5.1.4.1.1.88.68"


def code(value: str, meaning: str, scheme: str = "DCM") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _named(kind: str, name: Dataset, *children: Dataset) -> Dataset:
    item = Dataset()
    item.ValueType = kind
    item.ConceptNameCodeSequence = [name]
    if children:
        item.ContentSequence = list(children)
    return item


def container(name: Dataset, *children: Dataset) -> Dataset:
    return _named("CONTAINER", name, *children)


def number(name: Dataset, value: str, unit: str, *children: Dataset) -> Dataset:
    item = _named("NUM", name, *children)
    measured = Dataset()
    measured.NumericValue = value
    measured.MeasurementUnitsCodeSequence = [code(unit, unit, "UCUM")]
    item.MeasuredValueSequence = [measured]
    return item


def coded(name: Dataset, value: Dataset) -> Dataset:
    item = _named("CODE", name)
    item.ConceptCodeSequence = [value]
    return item


def uid(name: Dataset, value: str) -> Dataset:
    item = _named("UIDREF", name)
    item.UID = value
    return item


def text(name: Dataset, value: str) -> Dataset:
    item = _named("TEXT", name)
    item.TextValue = value
    return item


def moment(name: Dataset, value: str) -> Dataset:
    item = _named("DATETIME", name)
    item.DateTime = value
    return item


def person(name: Dataset, value: str) -> Dataset:
    item = _named("PNAME", name)
    item.PersonName = value
    return item


def report(
    name: Dataset, children: Sequence[Dataset], sop_class: str = XRAY_DOSE, **keywords: str
) -> Dataset:
    made = dataset(SOPClassUID=sop_class, Modality="SR", **keywords)
    made.ConceptNameCodeSequence = [name]
    made.ContentSequence = list(children)
    made.CompletionFlag = "COMPLETE"
    return made


def ct_report(total: str = "203.12", **keywords: str) -> Dataset:
    """A CT report of two acquisitions, each of which has a dose length product too."""
    events = [
        container(
            code("113819", "CT Acquisition"),
            coded(code("123014", "Target Region"), code("51185008", "Chest", "SCT")),
            uid(code("113769", "Irradiation Event UID"), f"1.2.9.{n}"),
            container(
                code("113829", "CT Dose"),
                number(code("113830", "Mean CTDIvol"), f"{n}.5", "mGy"),
                number(code("113838", "DLP"), f"{n}00.5", "mGy.cm"),
            ),
        )
        for n in (1, 2)
    ]
    return report(
        code("113701", "X-Ray Radiation Dose Report"),
        [
            coded(code("121058", "Procedure reported"), code("77477000", "CT", "SCT")),
            uid(code("121012", "Device Observer UID"), "1.2.8"),
            text(code("121013", "Device Observer Name"), "Scanner 1"),
            person(code("113850", "Irradiation Authorizing"), "Doc^Tor"),
            moment(code("113809", "Start of X-Ray Irradiation"), "20260102101112"),
            container(
                code("113811", "CT Accumulated Dose Data"),
                number(code("113812", "Total Number of Irradiation Events"), "2", "{events}"),
                number(code("113813", "CT Dose Length Product Total"), total, "mGy.cm"),
            ),
            *events,
        ],
        **keywords,
    )


def biplane_report() -> Dataset:
    planes = [
        container(
            code("113702", "Accumulated X-Ray Dose Data"),
            coded(code("113764", "Acquisition Plane"), code(value, meaning)),
            number(code("113722", "Dose Area Product Total"), dose, "Gy.m2"),
        )
        for value, meaning, dose in (("113620", "Plane A", "0.1"), ("113621", "Plane B", "0.2"))
    ]
    return report(code("113701", "X-Ray Radiation Dose Report"), planes)


def radiopharmaceutical_report() -> Dataset:
    administration = container(
        code("113502", "Radiopharmaceutical Administration"),
        uid(code("113503", "Radiopharmaceutical Administration Event UID"), "1.2.7"),
        number(code("113507", "Administered activity"), "370", "MBq"),
        coded(code("C-B02C9", "Radiopharmaceutical agent", "SRT"), code("35321007", "FDG", "SCT")),
        coded(code("G-C340", "Route of administration", "SRT"), code("47625008", "IV", "SCT")),
    )
    name = code("113500", "Radiopharmaceutical Radiation Dose Report")
    return report(name, [administration], RADIOPHARMACEUTICAL_DOSE)
