"""Which column of a source holds what: the one that is named, or else the one with a usual name.

Names are compared in NFC: macOS and what was written there may have decomposed Hangul.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from unicodedata import normalize

from korseq.errors import ColumnError, DataError, did_you_mean

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
    "후기",
    "문서",
    "질문",
    "메시지",
    "의견",
    "글",
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
# Of what numbers the rows, and is never taken for a text or a label because it is all that is left.
_NUMBERING = ("", "unnamed: 0", "id", "idx", "index", "no", "번호", "순번")


def find_column(
    source: str,
    columns: Sequence[str],
    chosen: str | None,
    usual: Sequence[str],
    role: str,
    setting: str | None = None,
) -> str:
    """The column for a role ("text", "label").

    Args:
        chosen: Its name; None to look for one of the `usual` names, in their order, in upper or lower case.
        setting: What tells it, for messages; None for that of `data`.

    Raises:
        DataError: If there is none; naming what there is, and the setting that tells it.
    """
    if chosen is not None:
        if (found := column_called(chosen, columns)) is not None:
            return found
        raise ColumnError(
            f"there is no column '{chosen}'{did_you_mean(chosen, columns)} (set {setting or f'data.{role}'})", source
        )
    if (found := _usual_column(columns, usual)) is not None:
        return found
    setting = setting or f"data.{role} (--set data.{role}=COLUMN)"
    raise ColumnError(f"no {role} column found among: {', '.join(columns)}. Name it with {setting}", source)


def find_columns(
    source: str, columns: Sequence[str], chosen: Sequence[str | None], usual: Sequence[Sequence[str]]
) -> tuple[str, str]:
    """The columns for text and label. Where there are just two, none is named and one has a usual name, the other is the other.

    Raises:
        DataError: As `find_column`.
    """
    text, label = chosen
    if len(columns) == 2 and text is label is None:
        found = [_usual_column(columns, names) for names in usual]
        left = next((c for c in columns if c not in found and c.lower() not in _NUMBERING), None)
        if found.count(None) == 1:
            text, label = (column or left for column in found)
    return (
        find_column(source, columns, text, usual[0], "text"),
        find_column(source, columns, label, usual[1], "label"),
    )


def column_called(name: str, columns: Collection[str]) -> str | None:
    """The column with this name, if there is one."""
    if name in columns:
        return name
    return next((column for column in columns if normalize("NFC", str(column)) == normalize("NFC", name)), None)


def _usual_column(columns: Sequence[str], usual: Sequence[str]) -> str | None:
    by_lower = {normalize("NFC", c).lower(): c for c in reversed(columns)}
    return next((by_lower[name.lower()] for name in usual if name.lower() in by_lower), None)


def require_rows(rows: Any) -> None:
    """Refuse what Python would go through character by character, or by the names of its columns.

    Raises:
        DataError: Saying what to hand over instead.
    """
    if isinstance(rows, str | bytes):
        raise DataError(f"{rows!r:.40} is one text; hand over a list of texts, [text]")
    if isinstance(rows, Mapping):
        raise DataError("a mapping of columns is no list of rows; hand over datasets.Dataset.from_dict(columns)")
    library = type(rows).__module__.partition(".")[0]
    if library in ("pandas", "polars") and hasattr(rows, "columns"):
        raise DataError(f"a {library} DataFrame is no list of rows; hand over datasets.Dataset.from_{library}(frame)")
