"""Measures the server at work, side by side with Orthanc where that is installed."""
