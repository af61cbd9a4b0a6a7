"""Command: how long searches take as the index grows, by a synthetic archive of any size.

The archive grows as a hospital's does: so many studies a day, so that a day holds as much in a big
one as in a small one, while patients, names and devices come back again and again.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import batched, islice
from pathlib import Path
from time import perf_counter

from pydicom.datadict import dictionary_VR, tag_for_keyword

from shared.adapters.sql_index.index import SqlIndex
from shared.adapters.sql_index.migrate import migrate
from shared.dicom.blob_names import new_blob_id
from shared.dicom.json_model import Document
from shared.dicom.resource import Level, ResourcePath
from shared.dicom.uid import Uid
from shared.dicom.value_representation import element
from shared.dicomweb.query import parse_query
from shared.ports import DEFAULT_PARTITION_NAME, Index, InstanceFile, NewInstance, Partition

_AT_ONCE = 4000
"""Instances a commit; many more than a store brings, so that the filling ends."""

_STUDIES_A_DAY = 40
_FIRST_DAY = date(2015, 1, 1)
_SEED = 20_250_101

# Modality, its share of the studies, series of a study, instances of a series.
_MODALITIES = (
    ("CR", 40, (1, 2), (1, 2)),
    ("US", 20, (1, 1), (5, 40)),
    ("CT", 22, (2, 5), (20, 120)),
    ("MR", 14, (4, 9), (15, 60)),
    ("MG", 4, (1, 2), (2, 4)),
)
_FAMILY_SYLLABLES = (
    "Ba",
    "Mül",
    "Ro",
    "Sor",
    "Kle",
    "Var",
    "Hen",
    "Tor",
    "Wes",
    "Lind",
    "Ga",
    "Pe",
)
_FAMILY_ENDS = ("ler", "mann", "sen", "berg", "ova", "ez", "son", "ini", "ard", "elli", "qvist")
_GIVEN = (
    *("Anna", "Jörg", "María", "Ivan", "Chloë", "Omar", "Sven", "Lucía", "Paul", "Ines", "Tom"),
    *("Grete", "Hugo", "Ida", "Jan", "Karl", "Lea", "Max", "Nora", "Otto", "Pia", "Rosa", "Zoë"),
)
_WORDS = ("Head", "Chest", "Abdomen", "Knee", "Spine", "Pelvis", "Hand", "Neck", "Heart", "Foot")


@dataclass(frozen=True, slots=True)
class _Study:
    """What is asked for later."""

    uid: Uid
    patient_id: str
    name: str
    day: str
    modality: str
    instance: Uid


class Archive:
    """Instances as a hospital makes them, the same for every run."""

    def __init__(self) -> None:
        self._random = random.Random(_SEED)
        self._patients: list[Document] = []
        self.studies: list[_Study] = []

    def instances(self) -> Iterator[NewInstance]:
        """Instances without end, study by study."""
        while True:
            yield from self._study(len(self.studies))

    def _patient(self, number: int) -> Document:
        if self._patients and self._random.random() < 0.6:  # Most have been here before.
            return self._random.choice(self._patients)
        choose = self._random.choice
        family = choose(_FAMILY_SYLLABLES) + choose(_FAMILY_SYLLABLES).lower()
        family += choose(_FAMILY_ENDS)
        born = date(1930, 1, 1) + timedelta(days=self._random.randrange(33_000))
        patient = document(
            PatientName={"Alphabetic": f"{family}^{choose(_GIVEN)}"},
            PatientID=f"P{number:07d}",
            PatientBirthDate=f"{born:%Y%m%d}",
            PatientSex=choose("FM"),
        )
        self._patients.append(patient)
        return patient

    def _study(self, number: int) -> Iterator[NewInstance]:
        choose, within = self._random.choice, self._random.randint
        patient = self._patient(number)
        (kind,) = self._random.choices(_MODALITIES, [share for _, share, *_ in _MODALITIES])
        modality, _, series, instances = kind
        day = f"{_FIRST_DAY + timedelta(days=number // _STUDIES_A_DAY):%Y%m%d}"
        uid = Uid(f"2.25.{10**12 + number}")
        study = patient | document(
            StudyInstanceUID=uid,
            StudyDate=day,
            StudyTime=f"{within(0, 23):02d}{within(0, 59):02d}{within(0, 59):02d}",
            AccessionNumber=f"A{number:09d}",
            StudyID=f"{number}",
            StudyDescription=f"{modality} {choose(_WORDS)} {choose(_WORDS)}",
            ReferringPhysicianName={"Alphabetic": f"Dr{within(1, 300)}^{choose(_GIVEN)}"},
        )
        study = dict(sorted(study.items()))
        first = Uid(f"{uid}.1.1")
        name = patient["00100010"]["Value"][0]["Alphabetic"]
        patient_id = patient["00100020"]["Value"][0]
        for series_number in range(1, within(*series) + 1):
            attributes = document(
                SeriesInstanceUID=f"{uid}.{series_number}",
                Modality="SR" if series_number == 6 else modality,
                SeriesNumber=series_number,
                SeriesDescription=f"{choose(_WORDS)} {series_number}",
                ManufacturerModelName=f"Model {within(1, 30)}",
                PerformedProcedureStepStartDate=day,
            )
            for instance_number in range(1, within(*instances) + 1):
                yield _instance(uid, series_number, instance_number, (study, attributes))
        self.studies.append(_Study(uid, patient_id, name, day, modality, first))


def _instance(
    study: Uid, series: int, number: int, attributes: tuple[Document, Document]
) -> NewInstance:
    path = ResourcePath(study, Uid(f"{study}.{series}"), Uid(f"{study}.{series}.{number}"))
    blob_id = new_blob_id()
    own = document(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
        SOPInstanceUID=path.instance,
        InstanceNumber=number,
        Rows=512,
        Columns=512,
        BitsAllocated=16,
    )
    file = InstanceFile(blob_id, 526_000, blob_id * 2, "1.2.840.10008.1.2.1", 1500)
    of_study, of_series = attributes
    return NewInstance(
        path, file, {Level.STUDY: of_study, Level.SERIES: of_series, Level.INSTANCE: own}
    )


def document(**values: object) -> Document:
    """A data set of these values by keyword."""
    elements = {}
    for keyword, value in values.items():
        tag = tag_for_keyword(keyword)
        elements[f"{tag:08X}"] = element(dictionary_VR(keyword), [value])
    return dict(sorted(elements.items()))


type _Parameters = list[tuple[str, str]]


def _searches(
    studies: Sequence[_Study], repeats: int
) -> dict[str, tuple[Level, list[_Parameters]]]:
    """What is measured: a level, and the parameters of each repetition."""
    chosen = random.Random(_SEED).choices(studies[:-1], k=repeats)
    return {
        "PatientID": (Level.STUDY, [[("PatientID", one.patient_id)] for one in chosen]),
        "StudyDate, a day": (
            Level.STUDY,
            [[("StudyDate", f"{one.day}-{one.day}")] for one in chosen],
        ),
        "PatientName, fuzzy": (
            Level.STUDY,
            [[("PatientName", _beginnings(one.name)), ("fuzzymatching", "true")] for one in chosen],
        ),
        "PatientName, fuzzy, one word": (
            Level.STUDY,
            [[("PatientName", one.name[:4]), ("fuzzymatching", "true")] for one in chosen],
        ),
        "ModalitiesInStudy and StudyDate": (
            Level.STUDY,
            [
                [("ModalitiesInStudy", one.modality), ("StudyDate", f"{one.day}-{one.day}")]
                for one in chosen
            ],
        ),
        "instances by SOPInstanceUID": (
            Level.INSTANCE,
            [[("SOPInstanceUID", str(one.instance))] for one in chosen],
        ),
        "instances by PatientID": (
            Level.INSTANCE,
            [[("PatientID", one.patient_id)] for one in chosen],
        ),
        "the newest studies": (Level.STUDY, [[] for _ in chosen]),
        "the newest instances": (Level.INSTANCE, [[] for _ in chosen]),
    }


def _beginnings(name: str) -> str:
    """As a person types it: the family name, and how the given name begins."""
    family, _, given = name.partition("^")
    return f"{family} {given[:2]}"


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one kind of search: milliseconds, and how many results it had in the middle."""

    p50: float
    p95: float
    results: float


async def _measure(
    index: Index, partition: Partition, studies: Sequence[_Study], repeats: int
) -> dict[str, Figures]:
    figures = {}
    for name, (level, parameters) in _searches(studies, repeats).items():
        times: list[float] = []
        counts: list[int] = []
        for pairs in parameters:
            query = parse_query(pairs, level, version=2)
            begun = perf_counter()
            matches = await index.search(partition, query)
            times.append((perf_counter() - begun) * 1000)
            counts.append(len(matches.results))
        cuts = statistics.quantiles(times, n=20, method="inclusive")
        figures[name] = Figures(cuts[9], cuts[18], statistics.median(counts))
    return figures


async def _run(folder: Path, sizes: Sequence[int], repeats: int) -> None:
    url = f"sqlite:///{folder / 'index.db'}"
    migrate(url)
    index = SqlIndex(url, sync=False)
    archive = Archive()
    try:
        measured = await _grow(index, archive, sizes, repeats)
    finally:
        await index.close()
    print(f"{len(archive.studies)} studies, {(folder / 'index.db').stat().st_size / 1e6:.0f} MB")
    _print(measured)


async def _grow(
    index: Index, archive: Archive, sizes: Sequence[int], repeats: int
) -> dict[int, dict[str, Figures]]:
    """Fill the index, and measure it whenever it has one of the sizes."""
    partition = await index.find_partition(DEFAULT_PARTITION_NAME)
    assert partition is not None
    source = archive.instances()
    measured: dict[int, dict[str, Figures]] = {}
    stored = 0
    begun = perf_counter()
    for size in sizes:
        wanted = islice(source, size - stored)
        for batch in batched(wanted, _AT_ONCE, strict=False):
            await index.commit(partition, batch)
            stored += len(batch)
            print(f"\r{stored} instances, {perf_counter() - begun:.0f} s", end="", flush=True)
        print()
        measured[size] = await _measure(index, partition, archive.studies, repeats)
    return measured


def _print(measured: dict[int, dict[str, Figures]]) -> None:
    small, *_, large = measured
    print(
        f"{'milliseconds':34}"
        + "".join(f"{f'{size} p50':>14}{'p95':>8}{'results':>9}" for size in measured)
        + "   ratio"
    )
    for name, first in measured[small].items():
        columns = "".join(
            f"{found.p50:14.2f}{found.p95:8.2f}{found.results:9.0f}"
            for found in (figures[name] for figures in measured.values())
        )
        print(f"{name:34}{columns}{measured[large][name].p50 / first.p50:8.2f}")


def main() -> None:
    """Parse the command line, fill, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="bench.large_index", description=__doc__)
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=10_000, help="size to compare with")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="keep the index here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        asyncio.run(_run(folder, (options.first, options.instances), options.repeats))


if __name__ == "__main__":
    main()
