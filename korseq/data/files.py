"""Files to read: on this machine or anywhere that fsspec reaches (`s3://…`, `https://…`), compressed or not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast
from urllib.parse import urlsplit

from korseq.errors import DataError, LostSourceError


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
        path = PurePosixPath(path_in(self.name).lower())
        return path.with_suffix("").suffix if path.suffix in _DECOMPRESSED else path.suffix

    def open(self) -> IO[bytes]:
        """The contents, decompressed, from their beginning.

        Raises:
            OSError: If it cannot be opened; and, as every read may, anything of `READ_ERRORS`.
            DataError: If it is a URL of which `reached` says so.
            LostSourceError: In every read, if the connection breaks off.
        """
        if is_remote(self.name):
            with reached(self.name) as (system, path):
                self._raw = cast("IO[bytes]", _Remote(system.open(path, "rb"), self.name))
        else:
            self._raw = Path(self.name).open("rb")  # noqa: SIM115
        decompressed = _DECOMPRESSED.get(PurePosixPath(path_in(self.name).lower()).suffix)
        return decompressed(self._raw) if decompressed else self._raw

    @property
    def position(self) -> int:
        """Bytes of the file itself, compressed as it is, that the last `open` has led to being read."""
        return 0 if self._raw is None or self._raw.closed else self._raw.tell()

    def __str__(self) -> str:
        return self.name


class _Remote(io.BufferedIOBase):
    """A file of a network, of which a read that fails does not say that the file is damaged."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name = file, name

    def read(self, size: int | None = -1) -> bytes:
        try:
            return self._file.read(-1 if size is None else size)
        except Exception as error:  # in the words of many clients
            raise LostSourceError(
                f"cannot be read to its end ({type(error).__name__}: {error}); try again; a corpus job then goes on where it was",
                self._name,
            ) from error

    read1 = read

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def is_file(name: str | Path) -> bool:
    """Whether it is a file; of a URL, which nobody asks before it is read, this is assumed."""
    try:
        return is_remote(str(name)) or Path(name).is_file()
    except OSError:  # too long to be a path
        return False


def is_remote(name: str) -> bool:
    """Whether a name is a URL."""
    return "://" in name


def path_in(name: str) -> str:
    """What of a name says where the file is and of which format: of a web address its path, without a query that the server
    reads (`…/reviews.csv?download=1`)."""
    return urlsplit(name).path if name.startswith(("http://", "https://")) else name


@contextmanager
def reached(url: str) -> Iterator[tuple[Any, str]]:
    """The file system of fsspec that a URL belongs to, and its path there, to be used within.

    Raises:
        OSError: If there is no such file, or the way to it is broken.
        DataError: If the protocol is unknown, or its package is not installed, or of any other error of its client.
    """
    import fsspec

    try:
        yield fsspec.core.url_to_fs(url)
    except FileNotFoundError as error:  # which says no more than the URL itself
        raise FileNotFoundError(f"not found ({error.__cause__})" if error.__cause__ else "not found") from error
    except OSError:
        raise
    except ImportError as error:
        remedy = "pip install s3fs for s3://, gcsfs for gs://, adlfs for az://"
        raise DataError(f"cannot be read without a further package: {error} ({remedy})", url) from error
    except Exception as error:  # in the words of many clients
        raise DataError(f"cannot be read ({error}); check the address", url) from error
