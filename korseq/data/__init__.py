"""Data: readers, splits, encoded corpora, batches."""

from korseq.data.batches import Batch
from korseq.data.encoded import EncodedData, SequenceOptions
from korseq.data.readers import DataSettings, Source, read

__all__ = ["Batch", "DataSettings", "EncodedData", "SequenceOptions", "Source", "read"]
