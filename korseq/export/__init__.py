"""Export: trained pipelines for other engines, and running them there. To add an engine: a module in this folder."""

from korseq.export.ctranslate2 import CTranslate2Runtime, Quantization, UnsupportedError, write_ctranslate2

__all__ = ["CTranslate2Runtime", "Quantization", "UnsupportedError", "write_ctranslate2"]
