"""DICOMweb on the wire: media types, multipart bodies, queries, reports; pure, no I/O."""
