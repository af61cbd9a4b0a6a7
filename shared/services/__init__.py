"""Use cases, one module a DICOMweb transaction."""
