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
        ("एक लड़की, हिन्दी में", ["एक", "लड़की", "हिन्दी", "में"]),
        ("كَتَبَ الوَلَدُ", ["كَتَبَ", "الوَلَدُ"]),
        ("Ma\u0308dchen mit Hu\u0308ten", ["ma\u0308dchen", "mit", "hu\u0308ten"]),
        (
            "ÜBER İZMİR\u2019in x",
            ["über", "i\u0307zmi\u0307r", "in", "x"],
        ),
        ("Σ'ΑΣ ΑΣ", ["σ", "ας", "ας"]),
        ("123 !?", []),
        ("", []),
    ],
)
def test_words_of_a_caption_and_where_they_stand(caption: str, expected: list[str]) -> None:
    assert words.tokenize(pl.Series([None, caption])).to_list() == [None, expected]
    found = list(words.words_of(caption))
    assert [word.text for word in found] == expected
    # Cut out of the caption as it is, each alone is the same word, and nothing between is one.
    pieces = [caption[word.start : word.end] for word in found]
    assert [[word.text for word in words.words_of(piece)] for piece in pieces] == [
        [word] for word in expected
    ]
    for word in reversed(found):
        caption = f"{caption[: word.start]} {caption[word.end :]}"
    assert list(words.words_of(caption)) == []


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
