"""What is differentiated when a pipeline is looked into: for each head, a number made of its logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from korseq.config import Config
from korseq.errors import ConfigError, DataError
from korseq.heads.base import Head, HeadModule, Prediction
from korseq.heads.classifier import Classification, Classifier, MultiLabelClassification
from korseq.heads.language_model import LanguageModel, LanguageModelModule
from korseq.heads.regressor import Regressor
from korseq.heads.seq2seq import Seq2Seq
from korseq.heads.tagger import Tagger, TaggerModule
from korseq.labels import LabelSet
from korseq.nn.sequences import Batch
from korseq.text.alignment import Token


class Objective(NamedTuple):
    """What is differentiated.

    Attributes:
        meaning: In words.
        of: From logits to a number, ().
    """

    meaning: str
    of: Callable[[Tensor], Tensor]


def check(config: Config, label: Any) -> None:
    """That such a pipeline can be looked into, and has such a thing as a label of a whole text if one is given.

    Raises:
        ConfigError: If not; says what to do instead.
    """
    head = config.head
    if isinstance(head, Seq2Seq):
        raise ConfigError(
            "Seq2Seq writes texts; what each piece of them comes from is shown by `korseq predict RUN TEXT --heat-map FILE`"
        )
    if not isinstance(head, Classifier | Regressor | Tagger | LanguageModel) or config.reads_numbers or head.texts > 1:
        raise ConfigError(
            "only pipelines that read one text can be looked into, with a Classifier, a Regressor, a Tagger or a LanguageModel"
        )
    if label is not None and isinstance(head, Tagger | LanguageModel):
        raise ConfigError(
            f"a {type(head).__name__} has no label of a whole text; leave it out, and what it predicts is looked into"
        )


def objective_of(
    head: Head,
    module: HeadModule,
    labels: LabelSet,
    batch: Batch,
    tokens: Sequence[Token],
    prediction: Prediction,
    label: Any,
) -> Objective:
    """The loss of the given label or else of what is predicted; without a label, a regressor's value itself.

    Raises:
        DataError: If there is no such label.
    """
    if isinstance(module, LanguageModelModule):
        return _of_last_token(module, batch, tokens)
    if isinstance(module, TaggerModule):
        return _of_tags(module, batch)
    if isinstance(head, Regressor) and label is None:
        return Objective(
            "the predicted value, in standard deviations from the mean of the training data",
            lambda values: values.sum(),
        )
    given = label is not None
    if isinstance(prediction, MultiLabelClassification):
        label = label if given else prediction.labels
    elif isinstance(prediction, Classification):
        label = label if given else prediction.label
    try:
        target, name = head.target(label, labels), _name(head, label)
    except ValueError as error:
        raise DataError(str(error), "the given label") from None
    targets = torch.tensor([target])
    what = "squared error (in variances of the training data) of" if isinstance(head, Regressor) else "loss of"
    return Objective(
        f"{what} {name}, {'given' if given else 'predicted'}", lambda scores: module.loss(scores, targets)[0]
    )


def _name(head: Head, label: Any) -> str:
    value = head.canonical(label)
    if isinstance(value, tuple):
        return f"the labels {', '.join(value)}" if value else "no label"
    return f"the value {value:g}" if isinstance(value, float) else f"the label {value}"


def _of_tags(module: TaggerModule, batch: Batch) -> Objective:
    """The loss of the tags that are predicted of the units."""

    def loss(emissions: Tensor) -> Tensor:
        assert batch.units is not None
        return module.told_loss(emissions, batch.units.mask)

    return Objective("loss of the predicted tags, all together", loss)


def _of_last_token(module: LanguageModelModule, batch: Batch, tokens: Sequence[Token]) -> Objective:
    """The loss of the text's last token, predicted from those before it; of a backward model of the first, from those after it;
    of both, the sum."""
    ids = batch.ids[module.feature][0]  # (T,): <bos>, the tokens of the text, <eos>
    # Of each direction, the row of its states that tells the token, and where that token stands.
    rows = {"forward": (len(ids) - 3, len(ids) - 2), "backward": (1, 1)}
    told = [rows[direction] for direction in module.directions]
    words = {
        "forward": "last token {}, predicted from all before it",
        "backward": "first token {}, predicted from all after it",
    }
    meaning = " and of the ".join(
        words[direction].format(tokens[place].form)
        for direction, (_, place) in zip(module.directions, told, strict=True)
    )

    def loss(read: Tensor) -> Tensor:
        """read: (n, D), of each direction what T - 1 tokens are predicted from."""
        chosen = torch.tensor([i * (len(ids) - 1) + row for i, (row, _) in enumerate(told)])
        gold = ids[[place for _, place in told]]
        return F.cross_entropy(module.scores(read[chosen]), gold, reduction="sum")

    return Objective(f"loss of the {meaning}", loss)
