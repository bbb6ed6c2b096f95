"""From what a decoder wrote back to text, and how it goes with the text that was read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korseq.data.encoded import SequenceOptions
from korseq.heads.seq2seq import Written, score_of
from korseq.heat_map import HeatMap
from korseq.nn.search import Hypothesis
from korseq.text.alignment import Analysis
from korseq.text.copies import masked
from korseq.text.tokenizers import Tokenizer
from korseq.text.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class SoftAlignment:
    """How much of each token of the source went into each piece of the output.

    Attributes:
        weights: (S, T), rows sum to at most one: what went to marks of the beginning and the end is left out.
        source, output: The two texts.
        source_spans: (start, end) of each of the T tokens, in characters of the source.
        output_spans: The same of each of the S pieces, in characters of the output.
    """

    weights: NDArray[np.float32]
    source: str
    output: str
    source_spans: tuple[tuple[int, int], ...]
    output_spans: tuple[tuple[int, int], ...]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SoftAlignment)
            and (self.source, self.output) == (other.source, other.output)
            and np.array_equal(self.weights, other.weights)
        )

    def best(self) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """For each piece of the output, its span and that of the source token that most of it came from."""
        if not self.weights.size:
            return []
        return [
            (span, self.source_spans[i])
            for span, i in zip(self.output_spans, self.weights.argmax(axis=1).tolist(), strict=True)
        ]

    def heat_map(self) -> HeatMap:
        """A row for each piece of the output, a column for each token of the source."""
        rows = tuple(self.output[start:end] for start, end in self.output_spans)
        return HeatMap(self.weights, rows, tuple(self.source[start:end] for start, end in self.source_spans))


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another output, and the geometric mean of the probabilities of its pieces."""

    output: str
    score: float


@dataclass(frozen=True, slots=True)
class Generated:
    """The answer of a sequence-to-sequence pipeline for one text, or how a language model goes on with it.

    Attributes:
        output: The text that was written.
        score: The geometric mean of the probabilities of its pieces, the end included.
        log_prob: The sum of their logarithms.
        alternatives: Further outputs, if the search was asked for some.
        alignment: What of the source went into what of the output; None if the decoder does not attend.
    """

    output: str
    score: float
    log_prob: float = field(repr=False)
    alternatives: tuple[Alternative, ...] = ()
    alignment: SoftAlignment | None = field(default=None, repr=False)

    @classmethod
    def of(cls, outputs: Sequence[tuple[str, Hypothesis]], alignment: SoftAlignment | None = None) -> Generated:
        """Of texts and the hypotheses that they were made of, the best first."""
        (output, best), *others = outputs
        alternatives = tuple(Alternative(text, score_of(hypothesis)) for text, hypothesis in others)
        return cls(output, score_of(best), best.log_prob, alternatives, alignment)

    def __str__(self) -> str:
        return self.output

    def as_dict(self) -> dict[str, Any]:
        others = [{"output": other.output, "score": other.score} for other in self.alternatives]
        return {"output": self.output, "score": self.score, "alternatives": others}


def generated(
    written: Written,
    analysis: Analysis | None,
    writer: Tokenizer,
    vocabulary: Vocabulary,
    options: SequenceOptions,
    copies: str,
) -> Generated:
    """What a decoder wrote for a text.

    Args:
        written: As ids of `vocabulary`.
        analysis: Of the text; None if what was read is none, so that nothing in it can be pointed at.
        writer: Makes text of tokens.
        options: By which the text was cut.
        copies: The pattern of what is copied of the text.
    """
    mask = masked(analysis.text, copies) if copies and analysis is not None else None

    def decode(tokens: Sequence[str]) -> str:
        text = writer.decode(tokens)
        return text if mask is None else mask.restored(text)

    tokens = [_tokens(hypothesis, vocabulary) for hypothesis in written.hypotheses]
    outputs = [decode(of_one) for of_one in tokens]
    alignment = None
    if written.attention is not None and analysis is not None:
        alignment = _aligned(written.attention, analysis, outputs[0], tokens[0], decode, options)
    return Generated.of(list(zip(outputs, written.hypotheses, strict=True)), alignment)


def _tokens(hypothesis: Hypothesis, vocabulary: Vocabulary) -> list[str]:
    return [vocabulary.token(i) for i in hypothesis.ids]


def _aligned(
    attention: NDArray[Any],
    analysis: Analysis,
    output: str,
    tokens: Sequence[str],
    decode: Callable[[Sequence[str]], str],
    options: SequenceOptions,
) -> SoftAlignment:
    first = int(options.add_bos_eos)
    count = min(len(analysis), options.max_length - 2 * first)
    weights = attention[: len(tokens), first : first + count]
    # Each piece ends where the text of all pieces up to it does.
    ends = [len(decode(tokens[: i + 1])) for i in range(len(tokens))]
    spans = tuple(zip([0, *ends], ends, strict=False))
    places = tuple(zip(analysis.starts[:count], analysis.ends[:count], strict=True))
    return SoftAlignment(weights, analysis.text, output, places, spans)
