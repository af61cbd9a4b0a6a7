"""One blueprint per DICOMweb transaction or resource."""
