"""Files to read: on this machine or anywhere that fsspec reaches (`s3://…`, `https://…`), compressed or not."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Any


def _zstandard(file: IO[bytes]) -> IO[bytes]:
    import pyarrow as pa

    stream: IO[bytes] = pa.CompressedInputStream(file, "zstd")
    return stream


_DECOMPRESSED: dict[str, Callable[[Any], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _zstandard,
}

# What reading a file may raise: the disk or the network, and what decompressors say of files that are damaged or cut short.
READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)


class File:
    """A file and how its text is decoded.

    Args:
        name: A path, or a URL of a protocol that fsspec knows.
        encoding: Of text files.
        errors: What decoding does with bytes that are not in this encoding, as for `bytes.decode`.
    """

    def __init__(self, name: str | Path, encoding: str = "utf-8", errors: str = "strict") -> None:
        self.name = str(name)
        self.encoding = encoding
        self.errors = errors
        self._raw: IO[bytes] | None = None

    @property
    def suffix(self) -> str:
        """That of the contents, in lower case: ".tsv" for `reviews.TSV.gz`."""
        path = PurePosixPath(self.name.lower())
        return path.with_suffix("").suffix if path.suffix in _DECOMPRESSED else path.suffix

    def open(self) -> IO[bytes]:
        """The contents, decompressed, from their beginning.

        Raises:
            OSError: If it cannot be opened; and, as every read may, anything of `READ_ERRORS`.
        """
        if is_remote(self.name):
            import fsspec

            self._raw = fsspec.open(self.name, "rb").open()
        else:
            self._raw = Path(self.name).open("rb")  # noqa: SIM115
        decompressed = _DECOMPRESSED.get(PurePosixPath(self.name.lower()).suffix)
        return decompressed(self._raw) if decompressed else self._raw

    @property
    def position(self) -> int:
        """Bytes of the file itself, compressed as it is, that the last `open` has led to being read."""
        return 0 if self._raw is None or self._raw.closed else self._raw.tell()

    def __str__(self) -> str:
        return self.name


def is_file(name: str | Path) -> bool:
    """Whether it is a file; of a URL, which nobody asks before it is read, this is assumed."""
    try:
        return is_remote(str(name)) or Path(name).is_file()
    except OSError:  # too long to be a path
        return False


def is_remote(name: str) -> bool:
    """Whether a name is a URL."""
    return "://" in name
