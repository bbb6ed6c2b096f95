"""From texts to ids: the cache of analyses, counting, looking up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import datasets
import numpy as np
import pytest

import korseq.data.encoded as encoded_data
from korseq.data.encoded import (
    EncodedData,
    SequenceOptions,
    StoredAnalyses,
    analyze,
    cache_folder,
    count_symbols,
    encode,
)
from korseq.errors import ConfigError
from korseq.specials import BOS, EOS, UNK
from korseq.text.alignment import Analysis
from korseq.text.features import FEATURES, ngrams
from korseq.text.tokenizers import Tokenizer, WhitespaceTokenizer
from korseq.text.vocabulary import Vocabulary

TEXTS = ["가 나 다", "", "나 나", "라"]


class Counting(WhitespaceTokenizer):
    """Remembers what it was given."""

    given: list[str]

    def __init__(self, name: str = "counting") -> None:
        super().__init__()
        object.__setattr__(self, "given", [])
        object.__setattr__(self, "name", name)

    def fingerprint(self) -> str:
        return self.name

    def stream(self, texts: object, max_characters: int | None = None) -> Iterator[Analysis]:
        def noted() -> Iterator[str]:
            for text in texts:
                self.given.append(text)
                yield text

        return super().stream(noted(), max_characters)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KORSEQ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def rows_of(texts: list[str]) -> datasets.Dataset:
    return datasets.Dataset.from_dict({"text": texts, "label": ["x"] * len(texts)})


def analyses(texts: list[str]) -> list[Analysis]:
    return list(WhitespaceTokenizer().stream(texts))


# Analysing -------------------------------------------------------------------------------------------------------------


def test_stored_analyses_are_those_of_the_tokenizer() -> None:
    tokenizer = WhitespaceTokenizer()
    stored = analyze(rows_of(TEXTS), tokenizer)
    assert stored.column_names == ["forms", "tags", "starts", "ends"]
    assert list(StoredAnalyses(TEXTS, stored)) == list(tokenizer.stream(TEXTS))


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 20])
def test_stored_analyses_are_read_in_batches_of_any_rows(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded_data, "_ROWS_READ_AT_A_TIME", 4)
    stored = analyze(rows_of([f"가{i} 나" * (i % 3) for i in range(20)]), WhitespaceTokenizer())
    chosen = list(range(20))[::-1][:count]
    texts = [f"가{i} 나" * (i % 3) for i in chosen]
    found = StoredAnalyses(texts, stored.select(chosen))
    assert list(found) == list(found) == analyses(texts)
    with pytest.raises(ValueError, match="zip"):
        list(StoredAnalyses([*texts, "다"], stored.select(chosen)))


def test_equal_texts_are_never_tokenized_twice() -> None:
    first, second = Counting(), Counting()
    analyze(rows_of(TEXTS), first)
    # Another dataset with other columns, of the same texts.
    found = analyze(rows_of(["z", *TEXTS]).select([1, 2, 3, 4]).remove_columns("label"), second)
    assert first.given == TEXTS
    assert second.given == []
    assert list(StoredAnalyses(TEXTS, found)) == analyses(TEXTS)


@pytest.mark.parametrize(
    ("texts", "name", "max_characters"),
    [
        (TEXTS, "another", None),
        (TEXTS, "counting", 10),
        ([*TEXTS, "마"], "counting", None),
        (["가 나 다", "", "나 나라", ""], "counting", None),  # the same characters, in other rows
    ],
    ids=["tokenizer", "limit", "more texts", "other rows"],
)
def test_what_differs_is_tokenized_again(texts: list[str], name: str, max_characters: int | None) -> None:
    analyze(rows_of(TEXTS), Counting())
    tokenizer = Counting(name)
    analyze(rows_of(texts), tokenizer, max_characters)
    assert tokenizer.given == texts


def test_the_cache_stands_in_its_folder_and_may_be_deleted(own_cache: Path) -> None:
    assert cache_folder() == own_cache
    analyze(rows_of(TEXTS), Counting())
    files = list(own_cache.glob("*.arrow"))
    assert files
    for file in files:
        file.unlink()
    again = Counting()
    analyze(rows_of(TEXTS), again)
    assert again.given == TEXTS


def test_without_the_variable_the_cache_stands_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KORSEQ_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "korseq"


def test_where_no_cache_can_be_analyses_last_as_long_as_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("KORSEQ_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").touch()
    first, second = Counting(), Counting()
    with pytest.warns(UserWarning, match=r"cannot be kept in .*KORSEQ_CACHE"):
        stored = [list(StoredAnalyses(TEXTS, analyze(rows_of(TEXTS), one))) for one in (first, second)]
    assert stored[0] == stored[1] == analyses(TEXTS)
    assert (first.given, second.given) == (TEXTS, [])


class Broken(Counting):
    """Fails after the first text, as a killed process would."""

    def stream(self, texts: object, max_characters: int | None = None) -> Iterator[Analysis]:
        yield next(super().stream(texts, max_characters))
        raise RuntimeError("broken")


def test_a_broken_run_leaves_no_half_cache_behind() -> None:
    with pytest.raises(RuntimeError, match="broken"):
        analyze(rows_of(TEXTS), Broken())
    again = Counting()
    assert list(StoredAnalyses(TEXTS, analyze(rows_of(TEXTS), again))) == analyses(TEXTS)
    assert again.given == TEXTS


def test_progress_bars_of_datasets_are_left_as_they_were() -> None:
    for switch, disabled in ((datasets.disable_progress_bars, True), (datasets.enable_progress_bars, False)):
        switch()
        for progress in (False, True):
            analyze(rows_of([f"{disabled} {progress}"]), WhitespaceTokenizer(), progress=progress)
            assert datasets.are_progress_bars_disabled() == disabled


# Counting --------------------------------------------------------------------------------------------------------------


def test_symbols_are_counted_for_each_feature() -> None:
    counts = count_symbols(analyses(TEXTS), ["form", "tag"])
    assert counts == {"form": Counter({"나": 3, "가": 1, "다": 1, "라": 1}), "tag": Counter({"": 6})}


def test_parts_are_counted_as_often_as_their_keys_occur() -> None:
    expected: Counter[str] = Counter()
    for word in ["가", "나", "다", "나", "나", "라"]:
        expected.update(ngrams(word))
    assert count_symbols(analyses(TEXTS), ["eojeol_ngrams"])["eojeol_ngrams"] == expected


# Looking up ------------------------------------------------------------------------------------------------------------

VOCABULARY = Vocabulary(["가", "나"])  # ids 4 and 5


def encoded(texts: list[str], **options: int | bool) -> EncodedData:
    return encode(analyses(texts), {"form": VOCABULARY}, SequenceOptions(**options))


def sequences(data: EncodedData, feature: str = "form") -> list[list[int]]:
    return [data.ids[feature][a:b].tolist() for a, b in zip(data.offsets[:-1], data.offsets[1:], strict=True)]


@pytest.mark.parametrize(
    ("text", "plain", "wrapped"),
    [
        ("가 나", [4, 5], [BOS, 4, 5, EOS]),
        ("가 모름", [4, UNK], [BOS, 4, UNK, EOS]),
        ("", [UNK], [BOS, UNK, EOS]),
        (" ", [UNK], [BOS, UNK, EOS]),
        ("<pad> <eos>", [UNK, UNK], [BOS, UNK, UNK, EOS]),
    ],
)
def test_a_text_becomes_ids(text: str, plain: list[int], wrapped: list[int]) -> None:
    assert sequences(encoded([text])) == [plain]
    assert sequences(encoded([text], add_bos_eos=True)) == [wrapped]


@pytest.mark.parametrize(
    ("add_bos_eos", "expected"),
    [
        (False, [[4], [4, 5, 4], [4, 5, 4, 5], [4, 5, 4, 5], [UNK]]),
        (True, [[BOS, 4, EOS], [BOS, 4, 5, EOS], [BOS, 4, 5, EOS], [BOS, 4, 5, EOS], [BOS, UNK, EOS]]),
    ],
)
def test_long_texts_are_cut_and_counted_and_keep_their_end_mark(add_bos_eos: bool, expected: list[list[int]]) -> None:
    texts = ["가", "가 나 가", "가 나 가 나", "가 나 가 나 가", ""]
    data = encoded(texts, max_length=4, add_bos_eos=add_bos_eos)
    assert sequences(data) == expected
    assert data.truncated == (3 if add_bos_eos else 1)
    assert data.lengths.tolist() == [len(s) for s in expected]
    assert len(data) == 5


def test_the_shortest_allowed_length_leaves_room_for_a_token() -> None:
    assert sequences(encoded(["나 가"], max_length=3, add_bos_eos=True)) == [[BOS, 5, EOS]]


@pytest.mark.parametrize("add_bos_eos", [False, True])
def test_parts_stand_once_for_each_key_and_belong_to_its_tokens(add_bos_eos: bool) -> None:
    texts = ["가나 다", "다 가나 다", ""]
    counts = count_symbols(analyses(texts), ["eojeol_ngrams"])["eojeol_ngrams"]
    vocabulary = Vocabulary.build(counts)
    data = encode(analyses(texts), {"eojeol_ngrams": vocabulary}, SequenceOptions(add_bos_eos=add_bos_eos))
    parts = data.parts["eojeol_ngrams"]
    rows = [parts.ids[a:b].tolist() for a, b in zip(parts.offsets[:-1], parts.offsets[1:], strict=True)]
    known = [vocabulary.ids(ngrams(word)) for word in ("가나", "다")]
    assert rows == [[0], [1], [2], [3], *known]
    bodies = [[4, 5], [5, 4, 5], [UNK]]
    assert sequences(data, "eojeol_ngrams") == [[BOS, *b, EOS] if add_bos_eos else b for b in bodies]


def test_all_features_share_their_offsets() -> None:
    vocabularies = {feature: Vocabulary() for feature in FEATURES}
    data = encode(analyses(["가나 다", "", "라"]), vocabularies, SequenceOptions(max_length=3))
    assert {len(ids) for ids in data.ids.values()} == {int(data.offsets[-1])} == {4}
    assert {ids.dtype for ids in data.ids.values()} == {np.dtype(np.int32)}


def test_targets_are_handed_through_and_nothing_encodes_to_nothing() -> None:
    targets = np.asarray([1.5, 2.5], dtype=np.float32)
    data = encode(analyses(["가", "나"]), {"form": VOCABULARY}, SequenceOptions(), targets)
    assert data.targets is targets
    assert len(encoded([])) == 0


@pytest.mark.parametrize("max_length", [2, 0, -1])
def test_a_length_without_room_is_refused(max_length: int) -> None:
    with pytest.raises(ConfigError, match="max_length"):
        SequenceOptions(max_length=max_length)


def test_counting_is_a_tokenizer() -> None:
    assert isinstance(Counting(), Tokenizer)
