"""Vocabularies: token → id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from korseq.specials import SPECIALS, UNK


class Vocabulary:
    """An ordered, immutable list of distinct tokens; the four specials come first.

    A token that a text really contains and that is spelt like a special (`<pad>`) reads as `<unk>`: text can never
    forge padding.

    Args:
        tokens: Distinct tokens without the specials, in the order of their ids.

    Raises:
        ValueError: If a token stands twice.
    """

    def __init__(self, tokens: Iterable[str] = ()) -> None:
        self._tokens = (*SPECIALS, *tokens)
        self._ids = {token: i for i, token in enumerate(self._tokens)}
        if len(self._ids) != len(self._tokens):
            twice = next(t for t, n in Counter(self._tokens).items() if n > 1)
            raise ValueError(f"{twice!r} stands twice in the vocabulary")
        for special in SPECIALS:
            del self._ids[special]
        self._hash = hash(self._tokens)

    @classmethod
    def build(cls, counts: Counter[str], min_count: int = 1, max_size: int | None = None) -> Vocabulary:
        """The tokens seen at least `min_count` times, most frequent first, at most `max_size` with the specials.

        Ties are ordered by spelling, so that the same data always gives the same ids.
        """
        kept = sorted(
            (t for t, n in counts.items() if n >= min_count and t not in SPECIALS), key=lambda t: (-counts[t], t)
        )
        return cls(kept if max_size is None else kept[: max(0, max_size - len(SPECIALS))])

    def extended(self, other: Vocabulary) -> Vocabulary:
        """This vocabulary, ids unchanged, followed by the tokens that only the other has."""
        return Vocabulary((*self.tokens, *(t for t in other.tokens if t not in self._ids)))

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens without the specials; the first has id 4."""
        return self._tokens[len(SPECIALS) :]

    def ids(self, tokens: Sequence[str]) -> list[int]:
        """One id a token; `<unk>`'s where the token is not listed."""
        get = self._ids.get
        return [get(token, UNK) for token in tokens]

    def token(self, id: int) -> str:
        return self._tokens[id]

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def __len__(self) -> int:
        return len(self._tokens)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self._tokens == other._tokens

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tokens)"
