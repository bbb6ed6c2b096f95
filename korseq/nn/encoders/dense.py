"""A feed-forward encoder: every state on its own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from korseq.nn.dropout import Dropout
from korseq.nn.encoders.base import Encoded, Encoder, EncoderModule, Sight
from korseq.nn.masks import last_of
from korseq.registry import Rate, component

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "none": nn.Identity}


@component
class Dense(Encoder):
    """activation(W x_t + b), the same for every token, which sees nothing of the others.

    Args:
        hidden_size: Width.
        activation: Of the sum.
        norm: Normalise the result (layer norm; Ba et al. 2016).
        dropout: On the result.
    """

    hidden_size: int = Field(default=128, ge=1)
    activation: Literal["relu", "gelu", "tanh", "none"] = "relu"
    norm: bool = False
    dropout: Rate = 0.0

    @property
    def sees(self) -> Sight:
        return "itself"

    def build(self, input_size: int) -> DenseEncoder:
        return DenseEncoder(input_size, self)


class DenseEncoder(EncoderModule):
    """dropout(norm(activation(W x + b)))."""

    def __init__(self, input_size: int, settings: Dense) -> None:
        super().__init__()
        self.output_size = settings.hidden_size
        self.linear = nn.Linear(input_size, settings.hidden_size)
        self.activation = _ACTIVATIONS[settings.activation]()
        self.norm = nn.LayerNorm(settings.hidden_size) if settings.norm else nn.Identity()
        self.dropout = Dropout(settings.dropout)

    def forward(self, inputs: Tensor, mask: Tensor) -> Encoded:
        states = self.dropout(self.norm(self.activation(self.linear(inputs))))
        return Encoded(states, last_of(states, mask))
