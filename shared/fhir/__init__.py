"""What images say, as FHIR resources: pure functions over data sets in the DICOM JSON model."""
