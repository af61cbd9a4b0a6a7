"""Adapters: the ports over real stores."""
