"""Data: readers, splits, encoded corpora, batches."""

from korseq.data.batches import Batch
from korseq.data.encoded import EncodedData, SequenceOptions
from korseq.data.readers import DataSettings, Source, read
from korseq.data.writers import write_annotated

__all__ = ["Batch", "DataSettings", "EncodedData", "SequenceOptions", "Source", "read", "write_annotated"]
