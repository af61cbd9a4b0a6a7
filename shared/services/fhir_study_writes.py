"""What is to be written of one study, given what its images say and what is there already."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.dicom.searchable import tag_of
from shared.errors import AmbiguousIdentityError
from shared.fhir.endpoint import map_endpoint
from shared.fhir.mapping_warning import MappingWarning
from shared.fhir.merge import (
    is_same,
    is_somebody_else,
    merge_imaging_study,
    merge_own,
    merge_patient,
    merge_shared,
)
from shared.fhir.ownership import is_ours
from shared.fhir.partition import is_known_by
from shared.fhir.r5 import to_r5
from shared.fhir.reference import referring
from shared.fhir.resource import Proposed, Resource
from shared.fhir.rules import MappingRules, PatientConflictRule, PatientRule, SyncRules
from shared.fhir.study_resources import StudyResources
from shared.ports import FhirWrite
from shared.services.fhir_lookup import Existing, order_reference
from shared.services.fhir_transaction import change, creation, removal

OTHER_PATIENT = "The Patient who is there seems to be somebody else."
OTHER_SUBJECT = "The ImagingStudy that is there seems to be of somebody else, and was left alone."
CONFLICTS = (OTHER_PATIENT, OTHER_SUBJECT)
OTHER_STUDY = "There is an Observation of this UID in another study, and it was left alone."


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyWrites:
    """What is to be written of a study.

    Attributes:
        endpoint: The reference to the Endpoint of the partition.
        is_r5: Whether the server is one of FHIR R5.
    """

    resources: StudyResources
    existing: Existing
    endpoint: str
    partition_name: str
    is_r5: bool
    mapping: MappingRules
    rules: SyncRules

    def warnings(self) -> Sequence[MappingWarning]:
        """What cannot be told, or not as the images say.

        Raises:
            AmbiguousIdentityError: The study is not to be told as what there is says somebody else.
        """
        conflicts = list(self._conflicts())
        if conflicts and self.rules.patient_conflicts is PatientConflictRule.REFUSE:
            raise AmbiguousIdentityError(conflicts[0].reason)
        others = [
            MappingWarning(tag_of("SOPInstanceUID"), OTHER_STUDY, one.key.value)
            for one in self.resources.observations
            if one.full_url in self.existing.of_others
        ]
        return [*self.resources.warnings, *conflicts, *others]

    def changes(self) -> list[FhirWrite]:
        """All changes that are to be made, what is referred to before what refers to it."""
        if self._is_of_another_subject:
            return []
        writes = []
        for proposed in self.resources.proposed:
            resource = self._finished(proposed.resource)
            held = self.existing.found.get(proposed.full_url)
            if held is None:
                writes.append(self._creation(proposed, resource))
                continue
            merged = self._merged(held, resource, proposed)
            if not is_same(merged, held):
                writes.append(change(merged, held))
        return writes + self._stale()

    def _conflicts(self) -> Iterator[MappingWarning]:
        patient = self.resources.patient
        held = None if patient is None else self.existing.found.get(patient.full_url)
        if patient is not None and held is not None and self._contradicts(held, patient):
            yield MappingWarning(tag_of("PatientID"), OTHER_PATIENT)
        if self._is_of_another_subject:
            yield MappingWarning(tag_of("StudyInstanceUID"), OTHER_SUBJECT)

    @property
    def _is_of_another_subject(self) -> bool:
        """Whether the ImagingStudy of somebody else is of a patient who is not this one."""
        patient, subject = self.resources.patient, self.existing.subject
        return (
            patient is not None
            and subject is not None
            and is_somebody_else(subject, patient.resource)
        )

    def _contradicts(self, held: Resource, patient: Proposed) -> bool:
        """Whether the Patient who is there seems to be somebody else."""
        if not is_known_by(held, patient.key, self.mapping):
            return False  # Others have merged two patients: this is who is left.
        holds = self.resources.is_newest_of_patient and not self.resources.is_contested
        if is_ours(held, self.mapping) and holds:
            return False  # A correction, which he follows.
        return is_somebody_else(held, patient.resource)

    def _finished(self, resource: Resource) -> Resource:
        """A resource with references to what is there, in the server's release."""
        endpoint = map_endpoint(self.partition_name, self.mapping).full_url
        ready: Resource = referring(resource, {**self.existing.references, endpoint: self.endpoint})
        if ready["resourceType"] == "ImagingStudy" and "basedOn" in ready:
            subject = ready["subject"].get("reference")
            orders = [order_reference(one, self.existing, subject) for one in ready["basedOn"]]
            ready = {**ready, "basedOn": orders}
        return to_r5(ready) if self.is_r5 else ready

    def _creation(self, proposed: Proposed, resource: Resource) -> FhirWrite:
        narrow = self.existing.has_siblings and proposed is self.resources.imaging_study
        return creation(
            proposed,
            resource,
            endpoint=self.endpoint if narrow else None,
            at_once=proposed.full_url in self.existing.similar,
        )

    def _merged(self, held: Resource, resource: Resource, proposed: Proposed) -> Resource:
        match held["resourceType"]:
            case "Patient":
                return self._merged_patient(held, resource, proposed)
            case "ImagingStudy":
                return merge_imaging_study(held, resource, self.endpoint, self.mapping)
            case "ServiceRequest":
                # Orders are of those who give them, but for those that the app has made.
                return self.existing.moved.get(proposed.full_url, held)
            case "Observation" if proposed.full_url in self.existing.of_others:
                return held
            case "Observation":
                return merge_own(held, resource, self.mapping)
            case _:
                return merge_shared(held, resource, self.mapping)

    def _merged_patient(self, held: Resource, resource: Resource, patient: Proposed) -> Resource:
        is_meant = is_known_by(held, patient.key, self.mapping)
        if not is_meant or self._contradicts(held, patient):
            return held
        rule = self.rules.patients
        if not self.resources.is_newest_of_patient and rule is not PatientRule.NEVER:
            # Lest studies of different years take turns in telling of a patient.
            rule = PatientRule.FILL
        return merge_patient(held, resource, rule, self.mapping)

    def _stale(self) -> list[FhirWrite]:
        """Observations whose reports are not there any more."""
        wanted = {
            self.existing.found[one.full_url]["id"]
            for one in self.resources.observations
            if one.full_url in self.existing.found
        }
        return [
            removal(one)
            for one in self.existing.stale
            if one["id"] not in wanted and is_ours(one, self.mapping)
        ]
