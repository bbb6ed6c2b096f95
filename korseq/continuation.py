"""How a language model goes on with a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from korseq.config import Config
from korseq.errors import ConfigError
from korseq.generation import Generated
from korseq.heads.language_model import LanguageModel, LanguageModelModule
from korseq.model import SequenceModel
from korseq.nn.decoders.base import DecoderState
from korseq.nn.search import Hypothesis, Scored, Search, keys_of
from korseq.nn.sequences import Batch
from korseq.text.features import FEATURES
from korseq.text.tokenizers import Tokenizer
from korseq.text.vocabulary import Vocabulary

# Texts that are gone on with at once.
_TOGETHER = 64


def continued(
    config: Config,
    model: SequenceModel,
    vocabularies: Mapping[str, Vocabulary],
    prompts: Sequence[str],
    length: int,
    search: Search | None,
    device: torch.device,
) -> list[Generated]:
    """The texts, each with what a forward language model writes after it.

    Args:
        length: At most so many tokens are written.
        search: How; None for what the head's settings say.

    Raises:
        ConfigError: If the pipeline is no such model, or no text can be made of its tokens.
    """
    head, tokenizer = config.head, config.tokenizer
    if not isinstance(head, LanguageModel) or head.direction != "forward":
        raise ConfigError("only a forward language model goes on with a text: LanguageModel with direction = forward")
    if search is not None and (mistakes := replace(head, search=search).contradictions()):
        raise ConfigError("; ".join(mistakes))
    if len(config.embeddings) > 1:
        raise ConfigError("embedding: what is written has no features but the one that is told; use one stage")
    if tokenizer.text_feature != head.feature:
        raise ConfigError(
            f"no text can be made of the feature '{head.feature}' of {type(tokenizer).__name__}'s tokens; use KiwiTokenizer "
            "with 'morpheme', or Subwords with 'form'"
        )
    vocabulary = vocabularies[head.feature]
    begun = [prompt.rstrip() for prompt in prompts]  # what follows brings its own space
    symbols = [
        list(FEATURES[head.feature].symbols(analysis)) if prompt else []  # not the space before the first word
        for prompt, analysis in zip(begun, tokenizer(begun), strict=True)
    ]
    room = min((n for n in (encoder.longest() for encoder in config.encoders) if n is not None), default=None)
    longest = max(map(len, symbols), default=0)
    if room is not None and longest + 1 >= room:  # with <bos>
        raise ConfigError(f"a text begins with {longest} tokens, but the encoder knows {room} positions; shorten it")
    ids = [vocabulary.ids(tokens) for tokens in symbols]
    most = [length if room is None else min(length, room - 1 - len(of_text)) for of_text in ids]
    found = _searched(model, ids, search or head.search, most, device)
    answers = []
    for prompt, tokens, hypotheses in zip(begun, symbols, found, strict=True):
        written = [[vocabulary.token(i) for i in hypothesis.ids] for hypothesis in hypotheses]
        outputs = [_joined(tokenizer, prompt, tokens, after) for after in written]
        answers.append(Generated.of(list(zip(outputs, hypotheses, strict=True))))
    return answers


def _joined(tokenizer: Tokenizer, prompt: str, tokens: Sequence[str], written: Sequence[str]) -> str:
    """A text and what was written after it. It stays as it was given, unless it grows together with that (하, 았다 → 했다)."""
    if not written:
        return prompt
    before, whole = tokenizer.decode(tokens), tokenizer.decode([*tokens, *written])
    return prompt + whole[len(before) :] if whole.startswith(before) else whole


def _searched(
    model: SequenceModel,
    prompts: Sequence[Sequence[int]],
    search: Search,
    most: Sequence[int],
    device: torch.device,
) -> list[list[Hypothesis]]:
    """What may follow each prompt, given as ids without `<bos>`, in at most so many tokens; the best first.

    Every step reads the whole text again, so that every encoder can do it.
    """
    head = model.head
    assert isinstance(head, LanguageModelModule)

    def step(symbols: Tensor, state: DecoderState) -> Scored:
        written = torch.cat([state.cache["written"], symbols.unsqueeze(1)], dim=1)  # (N · K, t), from `<bos>` on
        prompt = state.memory["prompt"].repeat_interleave(len(written) // len(state.memory["prompt"]), dim=0)
        ids = torch.cat([written[:, :1], prompt, written[:, 1:]], dim=1)
        mask = torch.ones_like(ids, dtype=torch.bool)
        states = model.encode(Batch({head.feature: ids}, {}, mask, None, np.arange(len(ids)))).states
        return Scored(head.next_scores(states[:, -1]), None, DecoderState(state.memory, {"written": written}))

    found: list[list[Hypothesis]] = [[] for _ in prompts]
    sizes = [len(prompt) for prompt in prompts]
    model.eval()
    with torch.inference_mode():
        order = sorted(range(len(prompts)), key=lambda i: sizes[i])
        # Of one length, so that there is no padding; and not too many.
        groups = (list(of_size) for _, of_size in groupby(order, key=lambda i: sizes[i]))
        for rows in (of_size[i : i + _TOGETHER] for of_size in groups for i in range(0, len(of_size), _TOGETHER)):
            size = sizes[rows[0]]
            prompt = torch.tensor([prompts[i] for i in rows], dtype=torch.long, device=device).view(len(rows), size)
            start = DecoderState({"prompt": prompt}, {"written": prompt.new_empty(len(rows), 0)})
            limits = torch.tensor([most[i] + 1 for i in rows], device=device)  # with <eos>
            keys = keys_of(prompt, torch.ones_like(prompt))
            for i, hypotheses in zip(rows, search.run(step, start, limits, keys), strict=True):
                found[i] = hypotheses
    return found
