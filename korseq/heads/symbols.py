"""What heads have in common that tell symbols of a large vocabulary."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from korseq.heads.base import HeadModule
from korseq.nn.divergence import linear_divergence
from korseq.nn.embeddings import LookupEmbedding


class SymbolHead(HeadModule):
    """A built head that scores all symbols of a vocabulary. If the embedding that reads them is tied, its table scores them, too
    (Press & Wolf 2017); otherwise a matrix of the head does.

    Args:
        embedding: Of the symbols.
        width: Of what they are predicted from.
        tied: Whether the embedding's table scores them.
    """

    rows_of_vocabulary = frozenset({"weight", "bias"})

    def __init__(self, embedding: LookupEmbedding, width: int, tied: bool) -> None:
        super().__init__()
        vocabulary = embedding.table.num_embeddings
        self.table_width = embedding.output_size if tied else width
        self.weight = None if tied else nn.Parameter(torch.empty(vocabulary, width))
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        if self.weight is not None:
            nn.init.normal_(self.weight, std=width**-0.5)

    @property
    @abstractmethod
    def tied_table(self) -> Tensor:
        """(V, D), the embedding's; only if it is tied."""

    @property
    def table(self) -> Tensor:
        """(V, D), what scores symbols."""
        return self.tied_table if self.weight is None else self.weight

    def divergence(self, one: Tensor, other: Tensor, targets: Tensor) -> Tensor:
        return linear_divergence(one, other, self.table, self.bias)

    def scores(self, read: Tensor) -> Tensor:
        """Of all symbols, unnormalised: (…, D) → (…, V)."""
        return F.linear(read, self.table, self.bias)

    def narrowed(self, width: int) -> nn.Module:
        """From states of this width to the width of the table."""
        return nn.Identity() if width == self.table_width else nn.Linear(width, self.table_width, bias=False)


def as_autocast(read: Tensor) -> Tensor:
    """In the type in which matrices are multiplied, for a loss that is computed outside of autocast."""
    device = read.device.type
    return read.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else read
