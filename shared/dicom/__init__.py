"""DICOM itself: identifiers, Part 10 files, the JSON model, frames; pure, no I/O."""
