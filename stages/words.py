"""Captions to words: what EDA counts and what the vocabulary is made of.

Only parts of NLTK that need no downloaded data are used, but for ``lemma``.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Literal, NamedTuple

import polars as pl

from stages import UserError

WORD = r"[^\W\d_]+"  # letters and their marks, as Polars reads it; Python's re cuts at marks
LETTER = re.compile(r"[^\W\d_]")
Normalization = Literal["none", "stem", "lemma"]
Segmentation = Literal["letters", "unicode"]

# English words that say nothing of a photo: scikit-learn's list, without words like "front", "two"
# and "system", which name things or how many there are. Written out, because a network that has
# learnt with them needs just these, and importing that list takes seconds.
STOP_WORDS = frozenset(
    """
    a about above across after afterwards again against all almost alone along already also although
    always am among amongst amoungst amount an and another any anyhow anyone anything anyway
    anywhere are around as at back be became because become becomes becoming been before beforehand
    behind being below beside besides between beyond both but by call can cannot cant co con could
    couldnt de describe do done down due during each eg either else elsewhere enough etc even ever
    every everyone everything everywhere except few first for former formerly found from further get
    give go had has hasnt have he hence her here hereafter hereby herein hereupon hers herself him
    himself his how however i ie if in inc indeed into is it its itself keep last latter latterly
    least less ltd made many may me meanwhile might more moreover most mostly much must my myself
    name namely neither never nevertheless next no nobody none noone nor not nothing now nowhere of
    off often on once only onto or other others otherwise our ours ourselves out over own per
    perhaps please put rather re same see seem seemed seeming seems several she should show since
    sincere so some somehow someone something sometime sometimes somewhere still such take than that
    the their them themselves then thence there thereafter thereby therefore therein thereupon these
    they third this those though through throughout thru thus to together too toward towards un
    under until up upon us very via was we well were what whatever when whence whenever where
    whereafter whereas whereby wherein whereupon wherever whether which while whither who whoever
    whole whom whose why will with within without would yet you your yours yourself yourselves
    """.split()
)


class Word(NamedTuple):
    """A word of a caption.

    Attributes:
        text: in lower case.
        start, end: where it stands in the caption: ``caption[start:end]``.
    """

    text: str
    start: int
    end: int


def tokenize(captions: pl.Series, segmentation: Segmentation = "letters") -> pl.Series:
    """The words of each caption, in lower case: List(String), null for no caption.

    They are the runs of ``letters``; or what has a letter between the boundaries of words that
    ``unicode`` defines (Unicode Standard Annex 29), for languages without blanks by the
    dictionaries of ICU.

    Marks belong to their letters: vowel signs of Hindi and Arabic, an accent in a character of
    its own.

    >>> tokenize(pl.Series(["A man's red Bus, 2 dogs"])).to_list()
    [['a', 'man', 's', 'red', 'bus', 'dogs']]

    Raises:
        UserError: for ``unicode``, ICU is not on this machine.
    """
    lower = captions.str.to_lowercase()
    if segmentation == "letters":
        return lower.str.extract_all(WORD)
    segments = _segmenter()
    words = [
        None if text is None else [part for part in segments(text) if LETTER.search(part)]
        for text in lower
    ]
    return pl.Series(captions.name, words, pl.List(pl.String))


def _segmenter() -> Callable[[str], Iterator[str]]:
    try:
        from icu4py.breakers import WordBreaker
    except ImportError as error:
        raise UserError(
            "words by Unicode's rules (vocab.segmentation: unicode) need the library icu4py: "
            "pip install 'tagloom[segmentation]'"
        ) from error
    return lambda text: iter(WordBreaker(text, "root"))


def words_of(caption: str, segmentation: Segmentation = "letters") -> Iterator[Word]:
    """The words that ``tokenize`` finds in ``caption``, in order, and where they stand.

    >>> [word.text for word in words_of("A red Bus")]
    ['a', 'red', 'bus']
    """
    series = pl.Series([caption], dtype=pl.String)
    [lower], [words] = series.str.to_lowercase(), tokenize(series, segmentation)
    # A letter's place in the caption, for each of lower case: İ becomes an i and a dot.
    places = [place for place, letter in enumerate(caption) for _ in letter.lower()]
    end = 0
    for word in words:
        start = lower.index(word, end)
        end = start + len(word)
        yield Word(word, places[start], places[end - 1] + 1)


def normalizer(how: Normalization) -> Callable[[str], str]:
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
        noun: str = lemmatizer.lemmatize(word, "n")
        if noun != word:
            return noun
        verb: str = lemmatizer.lemmatize(word, "v")
        return verb

    return lemma
