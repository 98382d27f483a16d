"""What EDA and vocab do with captions beside plain Python, which takes them word by word.

The plain way splits, counts and stems each caption with NLTK as it comes. Its time grows with the
captions, so it gets a tenth of them and its seconds are counted ten times. Both ways find the same
words and the same counts, and the benchmark ends where they do not.
"""

import time
from collections import Counter
from collections.abc import Iterator

import polars as pl
from nltk.stem import SnowballStemmer
from nltk.tokenize import RegexpTokenizer

from benchmarks.samples import captions, label_sets
from benchmarks.table import Options, Row, in_turn, main
from stages.eda import statistics
from stages.ingest.records import label_lists
from stages.vocab import vocabulary
from stages.words import STOP_WORDS, WORD, tokenize

CAPTIONS = 1_000_000
TENTH = 10
TOP = 10  # words a label, in EDA's tables
OPTIONS = {
    "normalize": "stem",
    "drop_stop_words": True,
    "min_count": 2,
    "max_words": 20_000,
    "max_length": 24,
}


def rows(options: Options) -> Iterator[Row]:
    if options.gpu:
        return
    count = options.scaled(CAPTIONS)
    matrix = label_sets(count, options.shared)
    names = [str(number) for number in range(matrix.shape[1])]
    labels, told = label_lists(matrix, names), captions(count, options.shared)
    few = label_lists(matrix[::TENTH], names).to_list(), told[::TENTH].to_list()
    subset = pl.repeat("train", count, eager=True)

    def of_columns() -> float:
        start = time.perf_counter()
        words = tokenize(told)
        statistics.caption_lengths(words, subset)
        counts = statistics.word_counts(labels, words)
        statistics.top_words(counts, names, TOP)
        statistics.telling_words(counts, names, TOP)
        vocabulary.build(told, **OPTIONS)
        return time.perf_counter() - start

    def row_by_row() -> float:
        start = time.perf_counter()
        plain(*few)
        return TENTH * (time.perf_counter() - start)

    check(*few)
    ours, theirs = in_turn(options.repeats, of_columns, row_by_row)
    yield Row(
        f"EDA's statistics and the vocabulary of {count:,} captions",
        "plain Python with NLTK, row by row",
        "s",
        ours,
        theirs,
        "≤ 0.1",
        "row by row: a tenth of the captions, × 10",
    )


def plain(labels: list[list[str]], told: list[str]) -> tuple[Counter, Counter, list[str]]:
    """Captions with so many words, captions with a label and a word, and the vocabulary."""
    tokenizer, stemmer = RegexpTokenizer(WORD), SnowballStemmer("english")
    lengths, together, uses = Counter(), Counter(), Counter()
    for carried, caption in zip(labels, told, strict=True):
        words = tokenizer.tokenize(caption.lower())
        lengths[len(words)] += 1
        content = [word for word in words if word not in STOP_WORDS]
        for word in set(content):
            for label in carried:
                together[label, word] += 1
        for word in content:
            uses[stemmer.stem(word)] += 1
    frequent = sorted((-n, word) for word, n in uses.items() if n >= OPTIONS["min_count"])
    return lengths, together, [word for _, word in frequent[: OPTIONS["max_words"]]]


def check(labels: list[list[str]], told: list[str]) -> None:
    """Ends the benchmark where both ways do not find the same."""
    lengths, together, known = plain(labels, told)
    words = tokenize(pl.Series(told))
    counts = statistics.word_counts(pl.Series(labels, dtype=pl.List(pl.String)), words)
    found = {(label, word): n for label, word, n, *_ in counts.iter_rows()}
    # EDA leaves out the letters that are left over from «man's».
    assert found == {pair: n for pair, n in together.items() if len(pair[1]) > 1}
    assert Counter(words.list.len().to_list()) == lengths
    assert vocabulary.build(told, **OPTIONS).words == known


if __name__ == "__main__":
    main(rows, __file__)
