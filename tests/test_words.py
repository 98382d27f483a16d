import nltk
import polars as pl
import pytest
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from stages import UserError, words


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A man's red Bus, 2 dogs", ["a", "man", "s", "red", "bus", "dogs"]),
        ('labeled "Seltzer Way," with', ["labeled", "seltzer", "way", "with"]),
        ("Ein GRÜNER Café-Stuhl", ["ein", "grüner", "café", "stuhl"]),
        ("snake_case x2y\nline", ["snake", "case", "x", "y", "line"]),
        ("東京 Москва", ["東京", "москва"]),
        ("A\u0301 x² Ⅷ ΟΔΟΣ", ["a\u0301", "x", "ⅷ", "οδος"]),
        ("123 !?", []),
        ("", []),
        (None, []),
    ],
)
def test_tokenize(caption: str | None, expected: list[str]) -> None:
    assert words.tokenize(caption) == expected
    [at_once] = words.tokenize_all(pl.Series([caption], dtype=pl.String)).to_list()
    assert at_once == (None if caption is None else expected)


def test_stop_words_keep_what_labels_hang_on() -> None:
    assert {"the", "a", "of", "with"} <= words.STOP_WORDS < ENGLISH_STOP_WORDS
    assert not {"two", "fire", "front", "side", "bill"} & words.STOP_WORDS


def test_normalizers() -> None:
    assert [words.normalizer("none")(word) for word in ("dogs", "running")] == ["dogs", "running"]
    stem = words.normalizer("stem")
    assert stem("dogs") == stem("dog") == "dog"
    assert stem("skateboarding") == stem("skateboards") == "skateboard"


def test_lemma_needs_wordnet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nltk.data, "path", [])
    with pytest.raises(
        UserError, match=r"nltk\.downloader wordnet, or set vocab.normalize to stem"
    ):
        words.normalizer("lemma")
