"""Captions to words: what EDA counts and what the vocabulary is made of.

Only parts of NLTK that need no downloaded data are used, but for ``lemma``.
"""

from collections.abc import Callable
from functools import cache
from typing import Literal

import polars as pl

from stages import UserError

WORD = r"[^\W\d_]+"  # a run of letters; NLTK's engine and Polars' agree on it

# Words of scikit-learn's list that name things or how many there are; labels hang on them.
CONTENT_WORDS = frozenset(
    "bill bottom cry detail empty fill find fire front full interest mill mine move part "
    "serious side system thick thin top "
    "one two three four five six eight nine ten eleven twelve fifteen twenty forty fifty sixty "
    "hundred".split()
)


@cache
def stop_words() -> frozenset[str]:
    """English words that say nothing of a photo: scikit-learn's list without content words.

    NLTK's list would have to be downloaded.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS - CONTENT_WORDS)


def tokenize(caption: str | None) -> list[str]:
    """The runs of letters of ``caption``, in lower case; none for None.

    >>> tokenize("A man's red Bus, 2 dogs")
    ['a', 'man', 's', 'red', 'bus', 'dogs']
    """
    return _letters().tokenize((caption or "").lower())


def tokenize_all(captions: pl.Series) -> pl.Series:
    """``tokenize`` of a String series at once, List(String); null where there is no caption."""
    return captions.str.to_lowercase().str.extract_all(WORD)


@cache
def _letters():
    from nltk.tokenize import RegexpTokenizer

    return RegexpTokenizer(WORD)


def normalizer(how: Literal["none", "stem", "lemma"]) -> Callable[[str], str]:
    """A function that brings the forms of a word together; it remembers words it has seen.

    ``stem`` is the English Snowball stemmer (Porter 2001); ``lemma`` looks nouns, then verbs up
    in WordNet.

    Raises:
        UserError: ``lemma``, and WordNet is not on this machine.
    """
    if how == "none":
        return str
    if how == "stem":
        from nltk.stem import SnowballStemmer

        return cache(SnowballStemmer("english").stem)

    from nltk.stem import WordNetLemmatizer

    lemmatizer = WordNetLemmatizer()
    try:
        lemmatizer.lemmatize("dogs")
    except LookupError as error:
        raise UserError(
            "vocab.normalize is lemma, but WordNet is not on this machine; get it with "
            "python -m nltk.downloader wordnet, or set vocab.normalize to stem"
        ) from error

    @cache
    def lemma(word: str) -> str:
        as_noun = lemmatizer.lemmatize(word, "n")
        return as_noun if as_noun != word else lemmatizer.lemmatize(word, "v")

    return lemma
