"""Subwords: text cut into pieces of a vocabulary that is learnt from a corpus, from which the text can be restored exactly.

SentencePiece (Kudo & Richardson 2018) learns the pieces. What is korseq's own is what it is given: text is first cut into words,
or into morphemes, that no piece crosses, each with the white space before it.

- A space stands before every text, so that its first word has the pieces that it has elsewhere. Decoding takes it away.
- Characters that are not in the vocabulary become the bytes of their UTF-8 form, so that no text has unknown pieces.
- SentencePiece writes a space as U+2581 (▁); a text's own ▁ is spelt in bytes.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field

from korseq.errors import DataError
from korseq.registry import Adjustable, Plug, component, settings, settings_of
from korseq.specials import BOS, EOS, PAD, SPECIALS, UNK
from korseq.text.alignment import Analysis
from korseq.text.clean import CleanText, clean
from korseq.text.tokenizers import KiwiTokenizer, Tokenizer, digest

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

_SPACE = "▁"
_SPELT_SPACE = tuple(f"<0x{byte:02X}>" for byte in _SPACE.encode())
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
# A word with the white space before it, of which a longer run is cut up.
_WORD = re.compile(r"\s?\S+|\s")
# Segments of which the pieces are kept; more than the distinct words of most corpora.
_KEPT = 200_000
# Ways to cut a segment among which training draws, and the longest segment that has several.
_WAYS, _LONGEST_SAMPLED = 16, 40


@settings
class SubwordTokenizer(Tokenizer):
    """What the two have in common."""

    token_name: ClassVar[str] = "piece"
    text_feature: ClassVar[str | None] = "form"

    vocab_size: int = Field(default=8000, ge=300)
    kind: Literal["bpe", "unigram"] = "bpe"
    symbols: tuple[str, ...] = Field(default=(), strict=False)
    character_coverage: float = Field(default=0.9995, gt=0.9, le=1)
    sampling: Annotated[float, Adjustable()] = Field(default=0.0, ge=0, le=1)
    model: bytes | None = Field(default=None, repr=False)

    def learn(self, texts: Iterable[str]) -> Self:
        import sentencepiece

        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=(s for s in self._sentences(texts) if s.strip()),
                model_writer=model,
                model_type=self.kind,
                vocab_size=self.vocab_size,
                hard_vocab_limit=False,  # a small corpus has fewer pieces
                character_coverage=self.character_coverage,
                byte_fallback=True,
                user_defined_symbols=list(self.symbols),
                normalization_rule_name="identity",
                add_dummy_prefix=False,
                remove_extra_whitespaces=False,
                max_sentence_length=1 << 20,
                pad_id=PAD,
                unk_id=UNK,
                bos_id=BOS,
                eos_id=EOS,
                pad_piece=SPECIALS[PAD],
                unk_piece=SPECIALS[UNK],
                bos_piece=SPECIALS[BOS],
                eos_piece=SPECIALS[EOS],
                minloglevel=2,
            )
        except RuntimeError as error:
            raise DataError(
                f"no {self.vocab_size:,} subwords can be learnt from these texts ({_first_line(error)}); "
                "change the tokenizer's vocab_size, or lower its character_coverage"
            ) from None
        return replace(self, model=model.getvalue())

    @property
    def data(self) -> bytes | None:
        return self.model

    def with_data(self, data: bytes | None) -> Self:
        """
        Raises:
            ValueError: If it is no model of SentencePiece.
        """
        if data is not None:
            _loaded(data)
        return replace(self, model=data)

    def with_symbols(self, symbols: Sequence[str]) -> Self:
        return replace(self, symbols=tuple(dict.fromkeys((*self.symbols, *symbols))))

    def pieces(self) -> tuple[str, ...]:
        return _loaded(self._learnt()).pieces

    def decode(self, tokens: Sequence[str]) -> str:
        characters: list[str] = []
        waiting = bytearray()
        for token in tokens:
            byte = _BYTE.fullmatch(token)
            if byte:
                waiting.append(int(byte[1], 16))
                continue
            characters.append(waiting.decode(errors="replace"))
            waiting.clear()
            characters.append(token.replace(_SPACE, " "))
        characters.append(waiting.decode(errors="replace"))
        return "".join(characters).removeprefix(" ")

    def stream(self, texts: Iterable[str], max_characters: int | None = None) -> Iterator[Analysis]:
        model = _loaded(self._learnt())
        for cleaned, cuts in self._cut(texts, max_characters):
            padded = " " + cleaned.text
            forms: list[str] = []
            ends: list[int] = []  # in the padded text
            for start, end in pairwise(cuts):
                for piece, length in model.cut(padded[start:end]):
                    forms.append(piece)
                    start += length
                    ends.append(start)
            yield _analysis(cleaned, forms, ends)

    def segments(self, texts: Iterable[str]) -> Iterator[list[str]]:
        """What no piece crosses, of each text."""
        for cleaned, cuts in self._cut(texts, None):
            padded = " " + cleaned.text
            yield [padded[start:end] for start, end in pairwise(cuts)]

    def ways(self, segment: str) -> tuple[list[Sequence[str]], list[float]]:
        """Ways to cut a segment, and how likely training takes each."""
        model = _loaded(self._learnt())
        best = [piece for piece, _ in model.cut(segment)]
        if not self.sampling or segment in self.symbols or _SPACE in segment or len(segment) > _LONGEST_SAMPLED:
            return [best], [1.0]
        return (
            model.ways_of_merging(segment, self.sampling) if self.kind == "bpe" else model.ways(segment, self.sampling)
        )

    def fingerprint(self) -> str:
        return digest([settings_of(self), hashlib.sha256(self._learnt()).hexdigest()])

    def _learnt(self) -> bytes:
        if self.model is None:
            raise ValueError("these subwords are not learnt yet: call learn(texts), or train the pipeline they are in")
        return self.model

    def _sentences(self, texts: Iterable[str]) -> Iterator[str]:
        """What SentencePiece learns from."""
        raise NotImplementedError

    def _cut(self, texts: Iterable[str], max_characters: int | None) -> Iterator[tuple[CleanText, list[int]]]:
        """Of each text: what of it is analysed, and where the padded text is cut, both ends included."""
        raise NotImplementedError

    def _cuts(self, text: str, inside: Sequence[int] = ()) -> list[int]:
        """Where a padded text is cut: before words, at the given places, and around symbols but not inside them."""
        cuts = {match.start() for match in _WORD.finditer(text)} | set(inside) | {0, len(text)}
        if self.symbols:
            for symbol in _pattern(self.symbols).finditer(text):
                cuts -= set(range(symbol.start() + 1, symbol.end()))
                cuts |= {symbol.start(), symbol.end()}
        return sorted(cuts)


@component
class Subwords(SubwordTokenizer):
    """Pieces of words.

    Args:
        vocab_size: Pieces, the four specials and the 256 bytes included.
        kind: "bpe" (Sennrich et al. 2016) or "unigram" (Kudo 2018). SentencePiece's unigram takes for pieces only strings that
            stand in two different segments, so that of a small corpus, or one cut at morphemes, most whole words are missing.
        symbols: Strings that are always one piece, such as markup and placeholders.
        character_coverage: Share of the characters of the corpus that get a piece; rarer ones are spelt in bytes.
        sampling: Training cuts texts in another way in every epoch. "unigram": ways are drawn by their probability to this power
            (Kudo 2018, section 3.1), such as 0.2. "bpe": merges are left out with this probability (Provilkov et al. 2020), such
            as 0.1. 0 for always the best.
        model: What has been learnt; a saved pipeline keeps it in a file of its own.
    """

    def _sentences(self, texts: Iterable[str]) -> Iterator[str]:
        return (" " + clean(text).text.replace(_SPACE, " ") for text in texts)

    def _cut(self, texts: Iterable[str], max_characters: int | None) -> Iterator[tuple[CleanText, list[int]]]:
        for text in texts:
            cleaned = clean(text)
            yield cleaned, self._cuts(" " + cleaned.text[:max_characters])


@component
class MorphemeSubwords(SubwordTokenizer):
    """Pieces of morphemes: none crosses the place where an analyzer sees another one begin, so that a particle or an ending is
    the same piece after every word. The text itself is cut, not the morphemes' dictionary forms, from which it could not be
    restored.

    Args:
        boundaries: The tokenizer that says where morphemes begin.

    The other arguments are those of `Subwords`.
    """

    boundaries: Annotated[Tokenizer, Plug("tokenizer")] = KiwiTokenizer()

    def _sentences(self, texts: Iterable[str]) -> Iterator[str]:
        for cleaned, cuts in self._cut(texts, None):
            padded = (" " + cleaned.text).replace(_SPACE, " ")
            yield from (padded[start:end] for start, end in pairwise(cuts))

    def _cut(self, texts: Iterable[str], max_characters: int | None) -> Iterator[tuple[CleanText, list[int]]]:
        waiting: deque[CleanText] = deque()

        def cleaned_texts() -> Iterator[str]:
            for text in texts:
                waiting.append(clean(text))
                yield waiting[-1].text

        for analysis in self.boundaries.stream(cleaned_texts(), max_characters):
            text = analysis.text[:max_characters]
            # A space belongs to the word after it.
            starts = [s + 1 for s in analysis.starts if 0 < s < len(text) and not text[s - 1].isspace()]
            yield waiting.popleft(), self._cuts(" " + text, starts)

    def with_data_inside(self) -> MorphemeSubwords:
        return replace(self, boundaries=self.boundaries.with_data_inside())

    def with_threads(self, count: int | None) -> MorphemeSubwords:
        return replace(self, boundaries=self.boundaries.with_threads(count))

    def fingerprint(self) -> str:
        own = settings_of(self) | {"boundaries": self.boundaries.fingerprint()}
        return digest([own, hashlib.sha256(self._learnt()).hexdigest()])


class _Model:
    """A SentencePiece model that remembers what it has cut."""

    def __init__(self, processor: SentencePieceProcessor) -> None:
        self._processor = processor
        self._known: dict[str, tuple[tuple[str, int], ...]] = {}
        self.pieces = tuple(processor.id_to_piece(i) for i in range(len(SPECIALS), processor.get_piece_size()))

    def cut(self, segment: str) -> tuple[tuple[str, int], ...]:
        """Its pieces, and how many characters each stands for: all bytes of a character but the first for none."""
        found = self._known.get(segment)
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            found = self._known[segment] = tuple((piece, _length(piece)) for piece in self._pieces(segment))
        return found

    def _pieces(self, segment: str) -> Iterator[str]:
        for i, part in enumerate(segment.split(_SPACE)):
            if i:
                yield from _SPELT_SPACE
            yield from self._processor.encode(part, out_type=str)

    def ways(self, segment: str, smoothing: float) -> tuple[list[Sequence[str]], list[float]]:
        """The most probable ways to cut a segment, and their probabilities to the power of `smoothing`, so that they sum to 1."""
        found: list[Sequence[str]] = self._processor.nbest_encode(segment, nbest_size=_WAYS, out_type=str)
        processor = self._processor
        scores = [smoothing * sum(processor.get_score(processor.piece_to_id(p)) for p in pieces) for pieces in found]
        weights = [math.exp(score - max(scores)) for score in scores]
        return found, [weight / sum(weights) for weight in weights]

    def ways_of_merging(self, segment: str, dropout: float) -> tuple[list[Sequence[str]], list[float]]:
        """Ways to cut a segment that come of leaving out merges at random; the same ones whenever they are asked for."""
        random = Random(segment)
        drawn = Counter(tuple(self._merged(segment, dropout, random)) for _ in range(_WAYS))
        return list(drawn), [count / _WAYS for count in drawn.values()]

    def _merged(self, segment: str, dropout: float, random: Random) -> list[str]:
        """Pieces, merged from characters: again and again the neighbours that the vocabulary ranks highest."""
        processor = self._processor
        parts = [
            piece
            for c in segment.replace(" ", _SPACE)
            for piece in processor.encode(c.replace(_SPACE, " "), out_type=str)
        ]
        while True:
            merges = [
                (processor.get_score(number), -i)  # of equal ones the first, as SentencePiece takes it
                for i, (left, right) in enumerate(pairwise(parts))
                if (number := processor.piece_to_id(left + right)) != UNK and random.random() >= dropout
            ]
            if not merges:
                return parts
            i = -max(merges)[1]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]


def _length(piece: str) -> int:
    byte = _BYTE.fullmatch(piece)
    if byte is None:
        return len(piece)
    return int(int(byte[1], 16) & 0xC0 != 0x80)  # not a continuation byte


@lru_cache(maxsize=8)
def _loaded(model: bytes) -> _Model:
    """Kept while it is used: the pieces of known words are what makes it fast."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.load_from_serialized_proto(model)
    except RuntimeError as error:
        raise ValueError(f"is no model of SentencePiece ({_first_line(error)})") from None
    return _Model(processor)


@lru_cache(maxsize=8)
def _pattern(symbols: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(s) for s in sorted(symbols, key=len, reverse=True)))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]


def _analysis(cleaned: CleanText, forms: list[str], ends: list[int]) -> Analysis:
    """The analysis of a text of whose padded form, a space longer, each piece ends at one of `ends`. White space before a word
    is not part of the piece's place."""
    text = cleaned.text
    starts = []
    for piece, start in zip(forms, [0, *ends], strict=False):
        place = max(0, start - 1)
        skip = len(piece) > 1 and start > 0 and piece[0] == _SPACE
        starts.append(place + skip)
    places = [(start, max(start, end - 1)) for start, end in zip(starts, ends, strict=True)]
    if text is not cleaned.source:
        places = [cleaned.to_source(*place) for place in places]
    return Analysis(
        cleaned.source, tuple(forms), ("",) * len(forms), tuple(s for s, _ in places), tuple(e for _, e in places)
    )
