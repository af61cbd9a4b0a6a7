"""What can go wrong between the host and an app."""


class StartError(Exception):
    """The host cannot run this app; the text says why."""


class WorkerLostError(Exception):
    """The worker died before the invocation ended; it may be tried again."""
