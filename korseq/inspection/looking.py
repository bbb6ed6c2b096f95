"""From a text to what of it an answer comes from."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch

from korseq.config import Config
from korseq.data.batches import collate
from korseq.inspection.measures import measure
from korseq.inspection.objective import check, objective_of
from korseq.inspection.result import Inspection
from korseq.labels import LabelSet
from korseq.model import SequenceModel, autocast, predict
from korseq.prepare import encode_texts, finished, max_characters
from korseq.specials import BOS, EOS, SPECIALS, UNK
from korseq.text.alignment import Analysis, Token
from korseq.text.vocabulary import Vocabulary


@torch.inference_mode(False)  # whatever the caller has switched off
def inspect(
    config: Config,
    model: SequenceModel,
    vocabularies: Mapping[str, Vocabulary],
    labels: LabelSet,
    text: str,
    label: Any = None,
) -> Inspection:
    """Look into a trained pipeline while it reads a text: what it attends to, and on what its loss depends.

    Computed in float32 on the CPU by a copy of the model, which stays as it is. Of a text that is longer than the pipeline
    reads, its first `sequence.max_length` tokens are looked at.

    Args:
        label: Whose loss is differentiated, as it would stand in the data; None for what is predicted. A regressor without one
            is asked what its value depends on; taggers and language models have none.

    Raises:
        ConfigError: If the pipeline reads something else than one text, or writes one.
        DataError: If there is no such label.
    """
    check(config, label)
    (analysis,) = config.tokenizer.stream([text], max_characters(config))
    encoded = encode_texts(config, vocabularies, [analysis])
    cpu = torch.device("cpu")
    # Its buffers may be large, and nothing here changes them.
    copy = deepcopy(model, {id(buffer): buffer for buffer in model.buffers()}).to(cpu, torch.float32).eval()
    (prediction,) = finished(config, encoded, predict(copy, encoded.data, cpu), vocabularies)
    batch = collate(encoded.data, np.arange(1))
    tokens = _tokens(analysis, batch.mask.size(1), config.sequence.add_bos_eos)
    with autocast(cpu, "fp32"):
        objective = objective_of(config.head, copy.head, labels, batch, tokens, prediction, label)
        measures = measure(copy, [type(encoder).__name__ for encoder in config.encoders], batch, objective.of)
    return Inspection(
        source=text,
        tokens=tokens,
        cut=bool(encoded.data.truncated) or len(encoded.data) > 1,
        prediction=prediction,
        loss=measures.value,
        meaning=objective.meaning,
        saliency=measures.saliency,
        gradient=measures.gradient,
        attention=measures.attention,
        self_attention=measures.self_attention,
    )


def _tokens(analysis: Analysis, count: int, wrapped: bool) -> tuple[Token, ...]:
    """What stands at each of `count` places of the sequence. What is in no text has no tag and no length."""
    read = analysis.tokens[: count - 2 * wrapped] or (Token(SPECIALS[UNK], "", 0, 0),)
    if not wrapped:
        return read
    end = max(token.end for token in read)
    return (Token(SPECIALS[BOS], "", 0, 0), *read, Token(SPECIALS[EOS], "", end, end))
