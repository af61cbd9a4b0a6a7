"""All resources of a study, as its images would have them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.fhir.data_set import DataSet
from shared.fhir.dose_report import map_dose_reports
from shared.fhir.imaging_study import map_imaging_study
from shared.fhir.made import Made
from shared.fhir.mapping_warning import MappingWarning, Warnings
from shared.fhir.ownership import mark
from shared.fhir.patient import map_patient, named_subject
from shared.fhir.reference import literal
from shared.fhir.resource import Proposed
from shared.fhir.rules import MappingRules
from shared.fhir.study_content import StudyContent


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResources:
    """What a study is told as; the resources refer to each other by their full URLs.

    Attributes:
        patient: None where the study has no Patient ID, or is about a phantom.
        devices: Which made the series.
        practitioners: Practitioner and PractitionerRole resources.
        orders: ServiceRequests that are made where they are not found.
        observations: Of radiation dose.
        is_newest_of_patient: Whether of what studies say of the patient this one's holds.
        is_contested: Whether another study of the patient says that he is somebody else.
    """

    patient: Proposed | None
    devices: Sequence[Proposed]
    practitioners: Sequence[Proposed]
    orders: Sequence[Proposed]
    imaging_study: Proposed
    observations: Sequence[Proposed]
    warnings: Sequence[MappingWarning]
    is_newest_of_patient: bool
    is_contested: bool

    @property
    def dependencies(self) -> Sequence[Proposed]:
        """What the ImagingStudy refers to."""
        patient = [] if self.patient is None else [self.patient]
        return [*patient, *self.devices, *self.practitioners, *self.orders]

    @property
    def proposed(self) -> Sequence[Proposed]:
        """All of them, what is referred to before what refers to it."""
        return [*self.dependencies, self.imaging_study, *self.observations]


def map_study(content: StudyContent, rules: MappingRules) -> StudyResources:
    """Map a study; the same content and rules always give the same resources."""
    data_set, warnings, made = DataSet(content.document), Warnings(), Made()
    rules = rules.within(content.partition_name)
    patient = map_patient(data_set, rules, warnings)
    subject = (
        named_subject(data_set, rules, warnings) if patient is None else literal(patient.full_url)
    )
    imaging_study = map_imaging_study(content, subject, rules, made, warnings)
    observations = map_dose_reports(content, subject, imaging_study, rules, warnings)

    def marked(proposed: Sequence[Proposed]) -> Sequence[Proposed]:
        return [
            replace(one, resource=mark(one.resource, content.partition_name, rules))
            for one in proposed
        ]

    return StudyResources(
        patient=None if patient is None else marked([patient])[0],
        devices=marked(made.of_type("Device")),
        practitioners=marked(made.of_type("Practitioner", "PractitionerRole")),
        orders=marked(made.of_type("ServiceRequest")),
        imaging_study=marked([imaging_study])[0],
        observations=marked(observations),
        warnings=sorted(warnings.found),
        is_newest_of_patient=content.is_newest_of_patient,
        is_contested=content.is_contested,
    )
