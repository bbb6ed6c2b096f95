"""Heads: what a pipeline predicts. To add one: its class in this folder, its name here."""

from korseq.heads.base import Head, HeadModule, Prediction
from korseq.heads.classifier import Classification, Classifier, MultiLabelClassification
from korseq.heads.each_step import EachStep, Steps
from korseq.heads.language_model import LanguageModel, Likelihood
from korseq.heads.regressor import Regression, Regressor
from korseq.heads.seq2seq import Seq2Seq, Written
from korseq.heads.tagger import Tagger, Tags

COMPONENTS = (Classifier, Regressor, Tagger, Seq2Seq, LanguageModel, EachStep)

__all__ = [
    "Classification",
    "Classifier",
    "EachStep",
    "Head",
    "HeadModule",
    "LanguageModel",
    "Likelihood",
    "MultiLabelClassification",
    "Prediction",
    "Regression",
    "Regressor",
    "Seq2Seq",
    "Steps",
    "Tagger",
    "Tags",
    "Written",
]
