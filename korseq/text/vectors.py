"""Pretrained word vectors in the text format of word2vec and fastText."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from korseq.errors import DataError
from korseq.text.vocabulary import Vocabulary

# A morpheme with one of Kiwi's tags (VV-I, W_URL, USER0, …); 1/2 and 그/그녀 are no such thing.
_TAGGED = re.compile(r"(.+)/[A-Z_]+\d?(?:-[A-Z]+)?", re.DOTALL)


def read_vectors(path: str | Path, vocabulary: Vocabulary) -> NDArray[np.float32]:
    """The vectors of a vocabulary's tokens from a file of lines `token v1 v2 … vD`; a first line `count D` may stand above.

    A vocabulary token that stands in the file with its tag cut off (좋/VA as 좋) takes that vector: vectors trained on
    plain morphemes serve tagged ones.

    Returns:
        (V, D); a row of NaN for a token that the file does not have.

    Raises:
        DataError: Naming the row that is not of this form, or if no token is found at all.
    """
    wanted: dict[str, list[int]] = {}
    for id, token in enumerate(vocabulary.tokens, start=len(vocabulary) - len(vocabulary.tokens)):
        wanted.setdefault(token, []).append(id)
        tagged = _TAGGED.fullmatch(token)
        if tagged:
            wanted.setdefault(tagged[1], []).append(id)
    table: NDArray[np.float32] | None = None
    exact: set[int] = set()
    for row, line in _lines(path):
        if not line.strip():
            continue
        token, *numbers = line.rstrip().split(" ")
        if row == 1 and len(numbers) == 1 and token.isdecimal() and numbers[0].isdecimal():
            continue
        if not numbers:
            raise DataError(f"is not 'token v1 v2 …' but {line.rstrip()[:80]!r}", str(path), row)
        if table is None:
            table = np.full((len(vocabulary), len(numbers)), np.nan, dtype=np.float32)
        width = table.shape[1]
        if not any(map(_is_number, numbers[:-width])):  # a token with spaces in it
            token, numbers = " ".join([token, *numbers[:-width]]), numbers[-width:]
        if len(numbers) != width:
            raise DataError(f"has {len(numbers)} numbers where the lines before have {width}", str(path), row)
        for id in wanted.get(token, ()):
            whole = vocabulary.token(id) == token
            if whole or id not in exact:
                try:
                    table[id] = np.asarray(numbers, dtype=np.float32)
                except ValueError as error:
                    raise DataError(f"is not 'token v1 v2 …' ({error})", str(path), row) from None
                if whole:
                    exact.add(id)
    if table is None or np.isnan(table).all():
        raise DataError(
            "has no vector for any token of the vocabulary; were the vectors trained on another tokenization?",
            str(path),
        )
    return table


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    try:
        with Path(path).open(encoding="utf-8-sig", newline="\n") as file:
            yield from enumerate(file, start=1)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot be read as word vectors ({error}); they must be in word2vec's text format, UTF-8", str(path)
        ) from error
