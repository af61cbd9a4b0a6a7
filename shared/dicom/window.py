"""The part of a file that a scan has before it."""


class Window:
    """Bytes of a file and how far they are read; whoever feeds the scan moves the window.

    Attributes:
        buffer: The bytes at hand.
        base: Offset in the file of the first of them.
        position: Where in `buffer` the scan is; beyond its end when bytes are to be skipped.
    """

    def __init__(self, buffer: bytes = b"", position: int = 0, base: int = 0) -> None:
        self.buffer = buffer
        self.position = position
        self.base = base

    @property
    def skippable(self) -> int:
        """How many of the bytes that follow the buffer will not be looked at."""
        return max(0, self.position - len(self.buffer))

    def skip(self, length: int) -> None:
        """Drop the buffer, and as many of the bytes after it."""
        gone = len(self.buffer) + length
        self.buffer = b""
        self.base += gone
        self.position -= gone

    def extend(self, chunks: list[bytes]) -> None:
        """Drop what is read, and add the bytes that follow the buffer; one chunk is not copied."""
        rest = self.buffer[self.position :]
        parts = [rest, *chunks] if rest else chunks
        self.base += self.position
        self.position = 0
        self.buffer = parts[0] if len(parts) == 1 else b"".join(parts)
