"""Text: cleaning, tokenizers, alignment, vocabularies. Nothing here imports torch."""

from korseq.labels import LabelSet
from korseq.text.alignment import Alignment, Analysis, Span, Token
from korseq.text.clean import CleanText, clean
from korseq.text.tokenizers import (
    GivenTokens,
    KiwiTokenizer,
    SyllableTokenizer,
    Tokenizer,
    UserWord,
    WhitespaceTokenizer,
)
from korseq.text.vocabulary import Vocabulary

__all__ = [
    "Alignment",
    "Analysis",
    "CleanText",
    "GivenTokens",
    "KiwiTokenizer",
    "LabelSet",
    "Span",
    "SyllableTokenizer",
    "Token",
    "Tokenizer",
    "UserWord",
    "Vocabulary",
    "WhitespaceTokenizer",
    "clean",
]
