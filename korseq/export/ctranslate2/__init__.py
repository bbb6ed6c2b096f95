"""CTranslate2 (https://github.com/OpenNMT/CTranslate2) runs sequence-to-sequence Transformers faster and in less memory than
torch, on a CPU above all, and in eight bits if wanted.

An export is a folder that is complete by itself:

pipeline.toml       what that of a saved pipeline says, a table `export`, and a checksum of every file
vocabulary.json     and labels.json, card.md, tokenizer.model, target_tokenizer.model: as in a saved pipeline
model.bin           the network, and config.json, source_vocabulary.json, target_vocabulary.json: as CTranslate2 wants them
"""

from korseq.export.ctranslate2.runtime import CTranslate2Runtime
from korseq.export.ctranslate2.writer import Quantization, UnsupportedError, write_ctranslate2

__all__ = ["CTranslate2Runtime", "Quantization", "UnsupportedError", "write_ctranslate2"]
