"""The benchmark: this server beside Orthanc, by the same requests."""
