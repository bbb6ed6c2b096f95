"""Tokenizers: Korean text → `Analysis`. Each is a frozen settings object; anything heavy is loaded at its first use."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias, overload

from pydantic import Field

from korseq.errors import ConfigError, DataError
from korseq.registry import Adjustable, Section, component, settings, settings_of
from korseq.text.alignment import Analysis
from korseq.text.clean import CleanText, clean
from korseq.text.kiwi import KiwiOptions, available_cores, kiwi, pieces

if TYPE_CHECKING:
    from kiwipiepy import Token

# Where a piece of a text begins, and its tokens.
_Part: TypeAlias = "tuple[int, list[Token]]"


class Tokenizer(ABC):
    """Cuts texts into tokens whose offsets count in the text as it was given."""

    has_tags: ClassVar[bool] = False
    """Whether its tokens have part-of-speech tags."""
    token_name: ClassVar[str] = "token"
    """What one of its tokens is."""
    text_feature: ClassVar[str | None] = None
    """Of what feature of its tokens `decode` makes text; None if it cannot."""

    @abstractmethod
    def stream(self, texts: Iterable[str], max_characters: int | None = None) -> Iterator[Analysis]:
        """One analysis a text, in order, lazily: memory does not grow with the number of texts.

        Args:
            texts: Any strings, empty and malformed ones included.
            max_characters: Read no more than about so many characters of a text (of its cleaned form). A caller
                that cuts sequences anyway bounds the time that one endless text can take.
        """

    @overload
    def __call__(self, texts: str) -> Analysis: ...  # type: ignore[overload-overlap] # a str is an iterable of str too
    @overload
    def __call__(self, texts: Iterable[str]) -> list[Analysis]: ...
    def __call__(self, texts: str | Iterable[str]) -> Analysis | list[Analysis]:
        """The analysis of one text, or a list of those of several."""
        if isinstance(texts, str):
            return next(self.stream([texts]))
        return list(self.stream(texts))

    def learn(self, texts: Iterable[str]) -> Tokenizer:
        """Equal settings with what must be learnt of a corpus; the same settings if that is nothing.

        Raises:
            DataError: If the texts are too few.
        """
        return self

    @property
    def data(self) -> bytes | None:
        """What it has learnt, for a file of its own; None if there is nothing."""
        return None

    def with_data(self, data: bytes | None) -> Tokenizer:
        """Equal settings that have learnt what another has."""
        return self

    def pieces(self) -> Sequence[str] | None:
        """All tokens that it can give, in a fixed order; None if there is no end of them."""
        return None

    def decode(self, tokens: Sequence[str]) -> str:
        """The text that tokens make, given as symbols of the `text_feature`; of subwords of a text, this text, cleaned."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Equal for two tokenizers exactly if they analyse every text equally."""
        return digest(settings_of(self))

    def with_data_inside(self) -> Tokenizer:
        """Equal settings that need no other file."""
        return self

    def with_threads(self, count: int | None) -> Tokenizer:
        """Settings that analyse equally, on so many threads if it can use them; None for as many as there are cores."""
        return self

    def with_symbols(self, symbols: Sequence[str]) -> Tokenizer:
        """Settings that learn these strings as tokens, too, if it learns any."""
        return self


Typos: TypeAlias = Literal[
    "basic", "continual", "basic_with_continual", "lengthening", "basic_with_continual_and_lengthening"
]


@settings
class UserWord:
    """A word to be added to Kiwi's dictionary.

    Args:
        form: The word; it may contain spaces.
        tag: Kiwi's tag for it (https://github.com/bab2min/kiwipiepy#품사-태그).
        score: Added to the word's log probability; positive makes it win more often.
    """

    form: str = Field(min_length=1)
    tag: str = "NNP"
    score: float = 0.0

    @staticmethod
    def read(path: str | Path) -> tuple[UserWord, ...]:
        """Read a dictionary file in Kiwi's format, `form<TAB>tag[<TAB>score]` a line; `#` begins a comment line.

        Raises:
            DataError: Naming the file and the row of the first line that is not of this form.
        """
        words = []
        try:
            lines = (
                Path(path).read_text(encoding="utf-8-sig").split("\n")
            )  # splitlines() breaks at more than editors do
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"cannot read the user dictionary ({error}); it must be a UTF-8 text file", str(path)
            ) from error
        for row, line in enumerate(lines, start=1):
            if not line.strip() or line.startswith("#"):
                continue
            try:
                form, tag, *score = (cell.strip() for cell in line.rstrip().split("\t"))
                words.append(UserWord(form, tag, *map(float, score)))
            except (TypeError, ValueError, ConfigError):
                raise DataError(f"expected 'form<TAB>tag<TAB>score', found {line!r}", str(path), row) from None
        return tuple(words)


@component
class KiwiTokenizer(Tokenizer):
    """Morphemes found by Kiwi (https://github.com/bab2min/Kiwi), with its part-of-speech tags.

    Args:
        model_type: Kiwi's language model: "cong" (contextual n-gram), "cong-global" (which looks further back, slower);
            None for Kiwi's default.
        typos: Correct typing errors while analysing; None to read what is written. It takes twice the time.
        typo_cost_threshold: Corrections that cost more are not considered.
        integrate_allomorph: Give endings that differ by the preceding vowel (았/었, 아/어) one form.
        default_dictionary, multiword_dictionary: Load Kiwi's dictionaries of proper nouns and of words with spaces.
        normalize_coda: Read a final consonant typed for fun (안녕하세욬) as if it stood alone.
        z_coda: Split off a final consonant that was appended to a particle or ending (했어욥).
        split_complex: Split compounds and derived words as far as the dictionary allows.
        saisiot: True splits, False joins compounds with a linking ㅅ; None leaves them as the dictionary has them.
        oov_handling: How words outside the dictionary are scored: "rule" by their length, "chr" by a model of characters,
            the others by how often they stand in the text, too; None for Kiwi's default.
        user_words: Words to add to the dictionary.
        user_dictionary: A file of such words (see `UserWord.read`); a saved pipeline holds its words, not its path.
        threads: Worker threads for batches; None for as many as there are cores. Results do not depend on it.
    """

    has_tags: ClassVar[bool] = True
    token_name: ClassVar[str] = "morpheme"
    text_feature: ClassVar[str | None] = "morpheme"

    model_type: Literal["cong", "cong-global"] | None = None
    typos: Typos | None = None
    typo_cost_threshold: float = Field(default=2.5, gt=0)
    integrate_allomorph: bool = True
    default_dictionary: bool = True
    multiword_dictionary: bool = True
    normalize_coda: bool = False
    z_coda: bool = True
    split_complex: bool = False
    saisiot: bool | None = None
    oov_handling: Literal["rule", "chr", "chr_freq", "chr_freq_branch", "chr_freq_consistency"] | None = None
    user_words: tuple[Annotated[UserWord, Section()], ...] = Field(default=(), strict=False)
    user_dictionary: str | None = None
    threads: Annotated[int | None, Adjustable()] = Field(default=None, ge=1)

    def stream(self, texts: Iterable[str], max_characters: int | None = None) -> Iterator[Analysis]:
        for cleaned, parts in self._parts(texts, max_characters):
            yield _analysed(cleaned, parts)

    def sentences(self, texts: Iterable[str]) -> Iterator[tuple[Analysis, list[int]]]:
        """Of each text, its analysis, and the indices of the tokens with which its sentences begin.

        A text of more than 4,096 characters is analysed in pieces (see `korseq.text.kiwi.pieces`); a sentence that two of them
        share counts as two.
        """
        for cleaned, parts in self._parts(texts, None):
            sentences = [(offset, token.sent_position) for offset, tokens in parts for token in tokens]
            first = [i for i, sentence in enumerate(sentences) if i == 0 or sentence != sentences[i - 1]]
            yield _analysed(cleaned, parts), first

    def _parts(self, texts: Iterable[str], max_characters: int | None) -> Iterator[tuple[CleanText, list[_Part]]]:
        """Of each text: what of it is analysed, and the tokens of every piece of that."""
        instance = kiwi(self._options())
        waiting: deque[tuple[CleanText, list[int]]] = deque()  # cleaned texts and the offsets of their pieces

        def cut() -> Iterator[str]:
            for text in texts:
                cleaned = clean(text)
                offsets = []
                parts = []
                for offset, piece in pieces(cleaned.text):
                    if max_characters is not None and offset >= max_characters and offset:  # one piece at least
                        break
                    limit = None if max_characters is None else max_characters - offset
                    offsets.append(offset)
                    parts.append(piece[:limit])
                waiting.append((cleaned, offsets))
                yield from parts

        tokenize = partial(
            instance.tokenize,
            normalize_coda=self.normalize_coda,
            z_coda=self.z_coda,
            split_complex=self.split_complex,
            saisiot=self.saisiot,
            oov_handling=self.oov_handling,
            typos=self.typos,  # here, not in the constructor, where Kiwi ignores it
            typo_cost_threshold=self.typo_cost_threshold,
        )
        # One thread is as fast as this one, and handing texts over to it would take a tenth more.
        analysed = map(tokenize, cut()) if self.threads == 1 else tokenize(cut())
        for tokens in analysed:
            cleaned, offsets = waiting.popleft()
            yield cleaned, [(0, tokens), *((offset, next(analysed)) for offset in offsets[1:])]

    def decode(self, tokens: Sequence[str]) -> str:
        """The text that morphemes make, contracted and spaced as Kiwi thinks right, which is not always as it was."""
        pairs = [(form, tag) for form, _, tag in (token.rpartition("/") for token in tokens)]
        text: str = kiwi(self._options()).join(pairs) if pairs else ""
        return text

    def fingerprint(self) -> str:
        from kiwipiepy import __version__ as code
        from kiwipiepy_model import __version__ as model

        return digest([settings_of(replace(self.with_data_inside(), threads=None)), code, model])

    def with_data_inside(self) -> KiwiTokenizer:
        if self.user_dictionary is None:
            return self
        words = self.user_words + UserWord.read(self.user_dictionary)
        return replace(self, user_words=words, user_dictionary=None)

    def with_threads(self, count: int | None) -> KiwiTokenizer:
        return replace(self, threads=count)

    def _options(self) -> KiwiOptions:
        constructor = {
            "model_type": self.model_type,
            "integrate_allomorph": self.integrate_allomorph,
            "load_default_dict": self.default_dictionary,
            "load_multi_dict": self.multiword_dictionary,
        }
        # Kiwi sees texts cleaned, so a word that is written decomposed would never be found in them.
        words = tuple((clean(w.form).text, w.tag, w.score) for w in self.with_data_inside().user_words)
        return KiwiOptions(tuple(constructor.items()), words, self.threads or available_cores())


class _PatternTokenizer(Tokenizer):
    """Tokens are the matches of a pattern; they have no tags."""

    def pattern(self) -> re.Pattern[str]:
        raise NotImplementedError

    def stream(self, texts: Iterable[str], max_characters: int | None = None) -> Iterator[Analysis]:
        pattern = self.pattern()
        for text in texts:
            cleaned = clean(text)
            end = len(cleaned.text) if max_characters is None else max_characters
            spans = [m.span() for m in pattern.finditer(cleaned.text, 0, end)]
            forms = [cleaned.text[s:e] for s, e in spans]
            yield _analysis(cleaned, forms, [""] * len(forms), [s for s, _ in spans], [e for _, e in spans])


@component
class WhitespaceTokenizer(_PatternTokenizer):
    """Eojeols: what stands between white space. Decoded, they stand between single spaces."""

    token_name: ClassVar[str] = "eojeol"
    text_feature: ClassVar[str | None] = "form"

    def pattern(self) -> re.Pattern[str]:
        return re.compile(r"\S+")

    def decode(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens)


@component
class SyllableTokenizer(_PatternTokenizer):
    """Single characters, which in Korean are syllables; white space separates and is dropped."""

    token_name: ClassVar[str] = "syllable"

    def pattern(self) -> re.Pattern[str]:
        return re.compile(r"\S")


@component
class CharacterTokenizer(_PatternTokenizer):
    """Single characters of the cleaned text, white space among them, so that it can be put together again."""

    token_name: ClassVar[str] = "character"
    text_feature: ClassVar[str | None] = "form"

    def pattern(self) -> re.Pattern[str]:
        return re.compile(r".", re.DOTALL)

    def decode(self, tokens: Sequence[str]) -> str:
        return "".join(tokens)


@component
class GivenTokens(_PatternTokenizer):
    """Text that is already tokenized: tokens stand between separators, which themselves are never part of one.

    Args:
        separator: What stands between two tokens. Where a data file has lists of tokens, they are joined by a space.
    """

    separator: Literal[" ", "\t", "|", "+", "_"] = " "

    def pattern(self) -> re.Pattern[str]:
        return re.compile(f"[^{re.escape(self.separator)}]+")


def _analysed(cleaned: CleanText, parts: list[_Part]) -> Analysis:
    tokens = parts[0][1] if len(parts) == 1 else [token for _, of_part in parts for token in of_part]
    starts = [token.start + offset for offset, of_part in parts for token in of_part]
    ends = [s + t.len for s, t in zip(starts, tokens, strict=True)]
    return _analysis(cleaned, [t.form for t in tokens], [t.tag for t in tokens], starts, ends)


def _analysis(cleaned: CleanText, forms: list[str], tags: list[str], starts: list[int], ends: list[int]) -> Analysis:
    """The analysis with offsets in the source instead of in the cleaned text."""
    if cleaned.text is not cleaned.source:
        spans = [cleaned.to_source(s, e) for s, e in zip(starts, ends, strict=True)]
        starts, ends = [s for s, _ in spans], [e for _, e in spans]
    return Analysis(cleaned.source, tuple(forms), tuple(tags), tuple(starts), tuple(ends))


# To be raised whenever cleaning or cutting changes, so that no analysis kept from before is taken for one made since.
_ANALYSIS_VERSION = 2


def digest(value: object) -> str:
    """For fingerprints of tokenizers."""
    described = json.dumps([_ANALYSIS_VERSION, value], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(described.encode()).hexdigest()[:32]
