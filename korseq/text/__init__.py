"""Text: cleaning, tokenizers, alignment, vocabularies. Nothing here imports torch. To add a tokenizer: its class in this folder,
its name here."""

from korseq.labels import LabelSet
from korseq.text.alignment import Alignment, Analysis, Span, Token
from korseq.text.clean import CleanText, clean
from korseq.text.subwords import MorphemeSubwords, Subwords
from korseq.text.tokenizers import (
    CharacterTokenizer,
    GivenTokens,
    KiwiTokenizer,
    SyllableTokenizer,
    Tokenizer,
    UserWord,
    WhitespaceTokenizer,
)
from korseq.text.vocabulary import Vocabulary

COMPONENTS = (
    KiwiTokenizer,
    WhitespaceTokenizer,
    SyllableTokenizer,
    CharacterTokenizer,
    GivenTokens,
    Subwords,
    MorphemeSubwords,
)

__all__ = [
    "Alignment",
    "Analysis",
    "CharacterTokenizer",
    "CleanText",
    "GivenTokens",
    "KiwiTokenizer",
    "LabelSet",
    "MorphemeSubwords",
    "Span",
    "Subwords",
    "SyllableTokenizer",
    "Token",
    "Tokenizer",
    "UserWord",
    "Vocabulary",
    "WhitespaceTokenizer",
    "clean",
]
