"""One blueprint per long-running workflow."""
