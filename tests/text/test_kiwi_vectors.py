"""Kiwi's morpheme vectors: exact, found for every token, the same in every rotation, kept safely."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kiwipiepy import Kiwi, Token

from korseq.errors import ConfigError
from korseq.specials import SPECIALS
from korseq.text import KiwiTokenizer, kiwi_vectors
from korseq.text.features import FEATURES, morphemes
from korseq.text.kiwi import kiwi
from korseq.text.kiwi_vectors import LANDMARKS, SIZE, MorphemeVectors, centred, morpheme_vectors, recover
from korseq.text.vocabulary import Vocabulary

KNOWN = 70_488  # the ids of kiwipiepy_model 0.24 that have a vector
TEXTS = [
    "나는 어제 친구를 만나서 영화를 봤다. 참 재미있었습니다!",
    "땅을 걷고 물을 길어 집을 지으면서 산 사람들은 아름답고 도운 이야기를 들었으며 웃음을 지었다.",
    "김태웅이 2024년 3월 5일 제주도로 (가족과) 떠났다... 이거 뭐야 ㅋㅋㅋ https://a.kr a@b.kr #봄 @me 010-1234-5678",
    "책으로 배우는 걸 좋아하는 애가 음식을 먹을 거라고 했으니까 그녀와 저녁을 먹음 中 cafe",
]


def rows_of(vectors: MorphemeVectors, tokens: Sequence[str]) -> list[int]:
    """The row of each token's vector, as a pipeline finds it; -1 for none."""
    ids = FEATURES["kiwi"].ids(Vocabulary(vectors.tokens))(tokens)
    return [int(vectors.ids[i - len(SPECIALS)]) if i >= len(SPECIALS) else -1 for i in ids]


@pytest.fixture(scope="module")
def instance() -> Kiwi:
    return kiwi(KiwiTokenizer()._options())


@pytest.fixture(scope="module")
def names(instance: Kiwi) -> MorphemeVectors:
    """All tokens but those of rare forms, without their vectors."""
    rows = kiwi_vectors._tokens(instance, KNOWN, range(75_000))
    return MorphemeVectors(tuple(rows), np.array(list(rows.values()), np.int32), np.empty((KNOWN, 0), np.float32))


def test_products_are_the_similarities(instance: Kiwi) -> None:
    generator = random.Random(0)
    ids = generator.sample(range(KNOWN), 300)  # more than one chunk
    vectors = recover(instance, ids)
    assert vectors.shape == (300, SIZE)
    assert vectors.dtype == np.float32
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-3
    pairs = [(generator.randrange(300), generator.randrange(300)) for _ in range(10_000)] + [(i, i) for i in range(300)]
    expected = [instance.morpheme_similarity(ids[i], ids[j]) for i, j in pairs]
    left, right = (list(side) for side in zip(*pairs, strict=True))
    assert np.abs((vectors[left] * vectors[right]).sum(axis=1) - expected).max() <= 1e-5


def test_a_vector_does_not_depend_on_the_others(instance: Kiwi) -> None:
    together = recover(instance, range(500, 510))
    np.testing.assert_allclose(recover(instance, [507, 503]), together[[7, 3]], atol=1e-6)


@pytest.mark.parametrize("landmarks", [range(100, 300), [*range(100, 300)] * 2], ids=["few", "repeated"])
def test_landmarks_must_span_the_space(landmarks: Sequence[int], instance: Kiwi) -> None:
    with pytest.raises(ConfigError, match="span 200 dimensions where korseq expects 256"):
        recover(instance, [500], landmarks)


def test_morphemes_without_a_vector_are_refused(instance: Kiwi) -> None:
    with pytest.raises(ConfigError, match="has no vectors for the morphemes"):
        recover(instance, [500, KNOWN])


def test_tokens_are_those_of_the_feature(instance: Kiwi, names: MorphemeVectors) -> None:
    """Every token of a text is found, and as the very morpheme that Kiwi found."""
    analyses = KiwiTokenizer()(TEXTS)
    tokens = [token for analysis in analyses for token in morphemes(analysis)]
    found = rows_of(names, tokens)
    assert min(found) >= 0
    emitted: list[Token] = [token for text in TEXTS for token in instance.tokenize(text)]
    assert [f"{token.form}/{token.tag}" for token in emitted] == tokens
    checked = 0
    for token, row in zip(emitted, found, strict=True):
        if token.id < KNOWN:
            assert row == token.id, token
            checked += 1
    assert checked > 0.8 * len(tokens)


@pytest.mark.parametrize(
    ("token", "base"),
    [
        ("를/JKO", "을/JKO"),
        ("는/JX", "은/JX"),
        ("가/JKS", "이/JKS"),
        ("로/JKB", "으로/JKB"),
        ("은/ETM", "ᆫ/ETM"),
        ("습니다/EF", "ᆸ니다/EF"),
        ("거/NNB", "것/NNB"),
        ("뭐/NP", "무엇/NP"),
    ],
)
def test_forms_of_one_morpheme_share_its_vector(token: str, base: str, names: MorphemeVectors) -> None:
    assert token in names.tokens
    row, expected = rows_of(names, [token, base])
    assert row == expected


def test_regular_and_irregular_verbs_stay_apart(names: MorphemeVectors) -> None:
    assert len(set(rows_of(names, ["걷/VV-I", "걷/VV-R", "/VV"]))) == 3


@pytest.mark.parametrize(
    ("token", "stand_in"),
    [
        ("김태웅/NNP", "/NNP"),
        ("2024/SN", "/SN"),
        ("./SF", "/SF"),
        ("//SP", "/SP"),
        ("새로엃/VV-I", "/VV"),
        ("새로엃/VX-R", "/VX"),
    ],
)
def test_unknown_words_read_as_their_tag(token: str, stand_in: str, names: MorphemeVectors) -> None:
    row, expected = rows_of(names, [token, stand_in])
    assert row == expected >= 0


def test_other_tokens_have_no_vector(names: MorphemeVectors) -> None:
    assert rows_of(names, ["영화", "영화/", "영화/noun", "", "/"]) == [-1] * 5


def table(landmarks: np.ndarray) -> MorphemeVectors:
    """Vectors of the landmarks and of one more morpheme, the first."""
    vectors = np.zeros((LANDMARKS[-1] + 1, SIZE), np.float32)
    vectors[list(LANDMARKS)] = landmarks
    vectors[0] = landmarks[0] - 2 * landmarks[1]
    return MorphemeVectors(("가/NNG",), np.zeros(1, np.int32), vectors)


def rotated(own: MorphemeVectors, seed: int = 0) -> MorphemeVectors:
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(SIZE, SIZE)))
    return replace(own, vectors=(own.vectors @ rotation).astype(np.float32))


@pytest.fixture(scope="module")
def own(instance: Kiwi) -> MorphemeVectors:
    return table(recover(instance, LANDMARKS))


def test_stored_landmarks_bring_the_rotation_back(own: MorphemeVectors) -> None:
    stored = rotated(own)
    assert np.abs(stored.vectors - own.vectors).max() > 0.1
    aligned = own.aligned_to(stored.landmarks)
    np.testing.assert_allclose(aligned.vectors, stored.vectors, atol=2e-6)
    assert aligned.vectors.dtype == np.float32
    assert aligned.tokens == own.tokens


def test_vectors_from_other_landmarks_are_a_rotation(own: MorphemeVectors, instance: Kiwi) -> None:
    other = table(recover(instance, LANDMARKS, range(200, 680)))
    assert np.abs(other.vectors - own.vectors).max() > 0.1
    np.testing.assert_allclose(other.aligned_to(own.landmarks).vectors, own.vectors, atol=1e-5)


def test_equal_landmarks_change_nothing(own: MorphemeVectors) -> None:
    assert own.aligned_to(own.landmarks.copy()) is own


@pytest.mark.parametrize("change", [1e-3, 0.1])
def test_another_model_is_refused(change: float, own: MorphemeVectors) -> None:
    landmarks = rotated(own).landmarks
    landmarks += np.random.default_rng(1).normal(scale=change, size=landmarks.shape).astype(np.float32)
    with pytest.raises(ValueError, match="come from another Kiwi model than the installed one"):
        own.aligned_to(landmarks)


def test_damaged_landmarks_are_refused(own: MorphemeVectors) -> None:
    landmarks = own.landmarks
    with pytest.raises(ValueError, match="are not 320 rows of 256 numbers"):
        own.aligned_to(landmarks[:-1])
    landmarks[3, 4] = np.nan
    with pytest.raises(ValueError, match="are not 320 rows of 256 numbers"):
        own.aligned_to(landmarks)


def test_centred_vectors_lean_nowhere(own: MorphemeVectors) -> None:
    vectors = own.landmarks
    assert np.linalg.norm(vectors.mean(axis=0)) > 0.5
    before = vectors.copy()
    found = centred(vectors)
    assert (vectors == before).all()
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert np.linalg.norm(found.mean(axis=0)) < 0.1
    moved = vectors[5].astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(found[5], moved / np.linalg.norm(moved), atol=1e-6)


class ShortKiwi:
    """A Kiwi that knows no more than the first 500 morphemes, which have a vector, and 100 of those that have none."""

    def __init__(self, real: Kiwi) -> None:
        self.real = real

    def morpheme(self, id: int) -> Token:
        if id >= 600:
            raise ValueError("out of range")
        return self.real.morpheme(id if id < 500 else id - 500 + KNOWN)

    def morpheme_similarity(self, one: int | tuple[str, str, int], other: int) -> float:
        return float("nan") if one == 500 else self.real.morpheme_similarity(one, other)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, instance: Kiwi) -> list[object]:
    """The options for which a Kiwi was asked for; it is a short one."""
    options: list[object] = []

    def short(wanted: object) -> ShortKiwi:
        options.append(wanted)
        return ShortKiwi(instance)

    monkeypatch.setattr(kiwi_vectors, "kiwi", short)
    monkeypatch.setattr(kiwi_vectors, "_similarity", lambda of: of.morpheme_similarity)
    return options


@pytest.fixture
def recovered(monkeypatch: pytest.MonkeyPatch, own: MorphemeVectors) -> list[MorphemeVectors]:
    """What was recovered so far; each time, the same few vectors are."""
    found: list[MorphemeVectors] = []

    def few(progress: bool) -> MorphemeVectors:
        found.append(replace(own, vectors=own.landmarks))
        return found[-1]

    monkeypatch.setattr(kiwi_vectors, "_recover_all", few)
    return found


def kept(folder: Path) -> Path:
    """The folder of the kept files; there is nothing else."""
    (place,) = folder.iterdir()
    assert sorted(p.name for p in place.iterdir()) == ["checksums.json", "tokens.json", "vectors.npy"]
    return place


def same(one: MorphemeVectors, other: MorphemeVectors) -> bool:
    return one.tokens == other.tokens and (one.ids == other.ids).all() and (one.vectors == other.vectors).all()


def test_vectors_are_recovered_once(asked: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = morpheme_vectors(tmp_path / "cache")
    assert capsys.readouterr().err == "korseq: recovering word vectors from the Kiwi model, once on this machine\n"
    assert asked == [KiwiTokenizer()._options()]
    assert first.vectors.shape == (500, SIZE)
    assert rows_of(first, ["를/JKO"]) == rows_of(first, ["을/JKO"])
    kept(tmp_path / "cache")
    second = morpheme_vectors(tmp_path / "cache")
    assert len(asked) == 1
    assert isinstance(second.vectors, np.memmap)
    assert same(first, second)
    assert capsys.readouterr().err == ""


def test_progress_can_be_turned_off(asked: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    morpheme_vectors(tmp_path, progress=False)
    assert len(asked) == 1
    assert capsys.readouterr().err == ""


def flipped(content: bytes) -> bytes:
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("vectors.npy", lambda content: content[:-1]),
        ("vectors.npy", lambda content: b""),
        ("vectors.npy", flipped),
        ("tokens.json", flipped),
        ("tokens.json", lambda content: content[: len(content) // 2]),
        ("checksums.json", lambda content: b"[]"),
        ("checksums.json", lambda content: b"\xff"),
    ],
)
def test_damaged_files_are_made_again(
    name: str, damage: Callable[[bytes], bytes], recovered: list[MorphemeVectors], tmp_path: Path
) -> None:
    morpheme_vectors(tmp_path)
    path = kept(tmp_path) / name
    path.write_bytes(damage(path.read_bytes()))
    for _ in range(2):
        assert same(morpheme_vectors(tmp_path), recovered[0])
        assert len(recovered) == 2
        kept(tmp_path)


def test_a_missing_file_is_made_again(recovered: list[MorphemeVectors], tmp_path: Path) -> None:
    morpheme_vectors(tmp_path)
    (kept(tmp_path) / "vectors.npy").unlink()
    assert same(morpheme_vectors(tmp_path), recovered[0])
    assert len(recovered) == 2
    kept(tmp_path)


def test_a_folder_that_cannot_be_written_costs_only_time(recovered: list[MorphemeVectors], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="the next run recovers them again"):
        assert morpheme_vectors(tmp_path / "file") is recovered[0]


def test_who_recovers_at_the_same_time_does_not_disturb(recovered: list[MorphemeVectors], tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(morpheme_vectors, [tmp_path] * 8))
    assert all(same(one, recovered[0]) for one in found)
    before = len(recovered)
    assert same(morpheme_vectors(tmp_path), recovered[0])
    assert len(recovered) == before
    kept(tmp_path)


def test_what_another_process_kept_meanwhile_stays(recovered: list[MorphemeVectors], tmp_path: Path) -> None:
    morpheme_vectors(tmp_path)
    kiwi_vectors._keep(kept(tmp_path), rotated(recovered[0]))
    assert same(morpheme_vectors(tmp_path), recovered[0])
    kept(tmp_path)
