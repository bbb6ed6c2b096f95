"""A look inside a pipeline: what of one text its answer comes from."""

from korseq.inspection.looking import inspect
from korseq.inspection.result import Inspection

__all__ = ["Inspection", "inspect"]
