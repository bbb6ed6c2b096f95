"""Which column of a source holds what: the one that is named, or else the one with a usual name."""

from __future__ import annotations

from collections.abc import Sequence

from korseq.errors import DataError, did_you_mean

# Names under which corpora keep their texts and labels, in the order in which they are looked for.
TEXT_NAMES = (
    "text",
    "document",
    "comments",
    "comment",
    "sentence",
    "review",
    "content",
    "title",
    "tokens",
    "form",
    "텍스트",
    "본문",
    "문장",
    "리뷰",
    "내용",
    "댓글",
)
LABEL_NAMES = (
    "label",
    "labels",
    "class",
    "category",
    "sentiment",
    "rating",
    "score",
    "target",
    "레이블",
    "라벨",
    "감성",
    "감정",
    "분류",
    "평점",
    "점수",
)
# Of two texts that belong together.
FIRST_NAMES = ("sentence1", "text1", "premise", "question1", "문장1")
SECOND_NAMES = ("sentence2", "text2", "hypothesis", "question2", "문장2", "second")


def find_column(source: str, columns: Sequence[str], chosen: str | None, usual: Sequence[str], role: str) -> str:
    """The column for a role ("text", "label").

    Args:
        chosen: Its name; None to look for one of the `usual` names, in their order, in upper or lower case.

    Raises:
        DataError: If there is none; naming what there is, and the setting that tells it.
    """
    if chosen is not None:
        if chosen in columns:
            return chosen
        raise DataError(f"there is no column '{chosen}'{did_you_mean(chosen, columns)} (set data.{role})", source)
    by_lower = {c.lower(): c for c in reversed(columns)}
    for name in usual:
        if name.lower() in by_lower:
            return by_lower[name.lower()]
    raise DataError(
        f"no {role} column found among: {', '.join(columns)}. Name it with data.{role} (--set data.{role}=COLUMN)",
        source,
    )
