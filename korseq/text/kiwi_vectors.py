"""The morpheme vectors inside the installed Kiwi model: pretrained word vectors with no download.

Kiwi tells how similar two morphemes are: the dot product of two vectors of 256 numbers that it keeps to itself. The
products of n morphemes with m landmarks determine the vectors up to a rotation: if K[m, m] = V Λ Vᵀ, then
X = K[n, m] V Λ^(-1/2) has them as its own products (the Nyström method, Williams and Seeger 2001, which is exact where
the landmarks span the space).
"""

from __future__ import annotations

import json
import math
import sys
import warnings
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import count, product, starmap
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from korseq.errors import ConfigError
from korseq.files import write_files
from korseq.text.kiwi import kiwi
from korseq.text.tokenizers import KiwiTokenizer

if TYPE_CHECKING:
    from kiwipiepy import Kiwi

SIZE = 256
# 320 of the commonest 20,000 morphemes (Kiwi numbers them by frequency). They span the space well: the least eigenvalue
# is 4e-3, so that errors of 1e-7 in the similarities become 1e-6. With 257 landmarks they would become 4e-5.
LANDMARKS = range(100, 19_940, 62)
# Eigenvalues below are rounding errors: those are 1e-6.
_NOISE = 1e-4
# More than rounding on different machines makes of equal vectors, less than the difference of two models.
_TOLERANCE = 1e-4
_CHUNK = 256
# To be raised whenever something else is stored, or stored otherwise.
_FORMAT = 1
_VECTORS, _TOKENS, _CHECKSUMS = "vectors.npy", "tokens.json", "checksums.json"


@dataclass(frozen=True, eq=False)
class MorphemeVectors:
    """Vectors whose dot products are Kiwi's similarities of morphemes, within 1e-5.

    Attributes:
        tokens: T distinct tokens "form/TAG", as the feature "morpheme" writes them (돕/VV-I). A token without a form
            ("/NNP") stands for all words of its tag that Kiwi's language model does not know, numbers and punctuation
            among them.
        ids: (T,) Kiwi's id of the morpheme as which its language model reads the token: the row of its vector. The
            forms of one morpheme share it (을/JKO and 를/JKO).
        vectors: (N, 256), one row for each of Kiwi's first N ids; the others have none. Lengths are 1 within 1e-3, as
            Kiwi keeps bytes. The rotation is arbitrary and may differ from machine to machine.
    """

    tokens: tuple[str, ...]
    ids: NDArray[np.int32]
    vectors: NDArray[np.float32]

    @property
    def landmarks(self) -> NDArray[np.float32]:
        """(320, 256): what a saved pipeline keeps to find its rotation again."""
        return self.vectors[list(LANDMARKS)]

    def aligned_to(self, landmarks: NDArray[np.float32]) -> MorphemeVectors:
        """These vectors in the rotation of stored `landmarks` (orthogonal Procrustes, Schönemann 1966).

        Raises:
            ValueError: If no rotation makes one of the other: they were recovered from another Kiwi model.
        """
        own = self.landmarks
        if np.array_equal(own, landmarks):  # recovered on this machine
            return self
        if landmarks.shape != own.shape or not np.isfinite(landmarks).all():
            raise ValueError(f"the stored landmarks of the word vectors are not {own.shape[0]} rows of {SIZE} numbers")
        left, _, right = np.linalg.svd(own.T.astype(np.float64) @ landmarks.astype(np.float64))
        rotation = left @ right
        error = np.abs(own @ rotation - landmarks).max()
        if error > _TOLERANCE:
            raise ValueError(
                f"the stored word vectors come from another Kiwi model than the installed one, {_model()} "
                f"(they differ by {error:.1g})"
            )
        return replace(self, vectors=self.vectors @ rotation.astype(np.float32))


def centred(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors (N, D) less their mean over all N rows, then scaled to the length 1.

    Morpheme vectors share a direction (three quarters of their squared length) that tells nothing of any of them.
    Centre the whole table, not a vocabulary's part of it: only then are the vectors the same for every vocabulary.
    """
    moved: NDArray[np.float32] = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    return moved


def morpheme_vectors(folder: Path, progress: bool = True) -> MorphemeVectors:
    """All vectors of the installed Kiwi model. They are the model's: a tokenizer's options change nothing about them.

    The first call on a machine takes 4 s and a Kiwi with the default options; later ones read in 0.1 s what was kept,
    mapped into memory and read-only. Damaged files are made again.

    Args:
        folder: Where they are kept, 74 MB.
        progress: Tell on stderr what takes so long.

    Raises:
        ConfigError: If the model has no such vectors.
    """
    from kiwipiepy import __version__ as code

    place = folder / f"kiwi-vectors-{_FORMAT}-{code}-{_model()}"
    found = _read(place)
    if found is None:
        found = _recover_all(progress)
        try:
            _keep(place, found)
        except OSError as error:
            if _read(place) is None:  # and not another process that was faster
                warnings.warn(
                    f"Kiwi's word vectors cannot be kept in {folder}; the next run recovers them again ({error})",
                    stacklevel=2,
                )
    return found


def recover(
    instance: Kiwi,
    ids: Sequence[int],
    landmarks: Sequence[int] = LANDMARKS,
    track: Callable[[range], Iterable[int]] = iter,
) -> NDArray[np.float32]:
    """The vectors of n morphemes. Their rotation depends on the landmarks, not on what else is recovered.

    Args:
        ids: Of morphemes that have a vector; 1,000 take 0.05 s.
        landmarks: Ids of morphemes whose vectors span the space.
        track: Watches over the chunks: is given where they start, and yields that.

    Returns:
        (n, 256).

    Raises:
        ConfigError: If a morpheme has no vector, or the landmarks do not span 256 dimensions.
    """
    gram = _similarities(instance, landmarks, landmarks)
    values, directions = np.linalg.eigh((gram + gram.T) / 2)  # in ascending order
    rank = int((values > _NOISE).sum())
    if rank != SIZE:
        raise ConfigError(
            f"the landmarks in Kiwi's model {_model()} span {rank} dimensions where korseq expects {SIZE}"
        )
    basis = directions[:, -SIZE:] / np.sqrt(values[-SIZE:])
    vectors = np.empty((len(ids), SIZE), dtype=np.float32)
    for start in track(range(0, len(ids), _CHUNK)):
        vectors[start : start + _CHUNK] = _similarities(instance, ids[start : start + _CHUNK], landmarks) @ basis
    return vectors


def _similarity(instance: Kiwi) -> Callable[[Any, int], float]:
    """Kiwi's own `morpheme_similarity`, without the Python around it that tells a `Token` from an id: four times as fast."""
    similarity: Callable[[Any, int], float] = super(type(instance), instance).morpheme_similarity
    return similarity


def _similarities(instance: Kiwi, ids: Sequence[int], landmarks: Sequence[int]) -> NDArray[np.float64]:
    """(ids, landmarks)."""
    calls = starmap(_similarity(instance), product(ids, landmarks))
    found = np.fromiter(calls, np.float64, len(ids) * len(landmarks)).reshape(len(ids), len(landmarks))
    if np.isnan(found).any():
        raise ConfigError(f"Kiwi's model {_model()} has no vectors for the morphemes that korseq asks it for")
    return found


def _tokens(instance: Kiwi, known: int, ids: Iterable[int]) -> dict[str, int]:
    """Token → id of the morpheme with a vector as which Kiwi's language model reads it.

    The first `known` ids have vectors. A later one may be a form of one of those (를 of 을): asked for form and tag
    instead of the id, Kiwi compares what its language model reads, and two similarities tell which morpheme that is.
    """
    similarity = _similarity(instance)
    of: dict[tuple[float, ...], int] = {}
    rows: dict[str, int] = {}
    for id in ids:
        try:
            morpheme = instance.morpheme(id)
        except ValueError:  # there are no more
            break
        form, tag = morpheme.form, morpheme.tag
        token = f"{form}/{tag}"
        if id < known:
            rows.setdefault(token, id)  # of several senses, the commonest
            if form:
                of[similarity(id, LANDMARKS[0]), similarity(id, LANDMARKS[1])] = id
        elif token not in rows and tag not in ("UN", "P") and " " not in form:  # fragments and names of several words
            try:
                pair = tuple(similarity((form, tag, morpheme.sense), landmark) for landmark in LANDMARKS[:2])
            except ValueError:  # Kiwi tells neither homonyms of a tag apart nor words of dialects from unknown ones
                continue
            if pair in of:
                rows[token] = of[pair]
    return rows


def _recover_all(progress: bool) -> MorphemeVectors:
    from rich.console import Console
    from rich.progress import Progress

    instance = kiwi(KiwiTokenizer()._options())
    known = next(id for id in count() if math.isnan(instance.morpheme_similarity(id, id)))
    if progress:
        print("korseq: recovering word vectors from the Kiwi model, once on this machine", file=sys.stderr, flush=True)
    console = Console(stderr=True)
    with Progress(console=console, disable=not (progress and console.is_terminal), transient=True) as bars:
        vectors = recover(instance, range(known), track=lambda starts: bars.track(starts, description="vectors"))
        rows = _tokens(instance, known, bars.track(count(), total=None, description="tokens"))
    return MorphemeVectors(tuple(rows), np.fromiter(rows.values(), np.int32, len(rows)), vectors)


def _read(place: Path) -> MorphemeVectors | None:
    """What is kept there, if it is whole."""
    try:
        checksums = json.loads((place / _CHECKSUMS).read_bytes())
        if any(zlib.crc32(np.memmap(place / name, mode="r").data) != checksums[name] for name in (_VECTORS, _TOKENS)):
            return None
        vectors = np.load(place / _VECTORS, mmap_mode="r", allow_pickle=False)
        rows = json.loads((place / _TOKENS).read_bytes())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return MorphemeVectors(tuple(rows), np.fromiter(rows.values(), np.int32, len(rows)), vectors)


def _keep(place: Path, found: MorphemeVectors) -> None:
    """Put all files into place at once, unless another process was faster.

    Raises:
        OSError: If the folder cannot be written, or another process did the same at the same moment.
    """
    stream = BytesIO()
    np.save(stream, found.vectors, allow_pickle=False)
    rows = json.dumps(dict(zip(found.tokens, found.ids.tolist(), strict=True)), ensure_ascii=False)
    contents = {_VECTORS: stream.getvalue(), _TOKENS: rows.encode()}
    contents[_CHECKSUMS] = json.dumps({name: zlib.crc32(content) for name, content in contents.items()}).encode()
    place.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f"{place.name}-", dir=place.parent) as staging:
        write_files(Path(staging) / "whole", contents)
        if _read(place) is None:
            if place.exists():
                place.rename(Path(staging) / "damaged")
            (Path(staging) / "whole").rename(place)


def _model() -> str:
    from kiwipiepy_model import __version__

    return str(__version__)
