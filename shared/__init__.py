"""What the app decides: domain values, use cases, ports and their adapters."""
