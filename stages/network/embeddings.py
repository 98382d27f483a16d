"""Word vectors from a text file, as GloVe and word2vec publish them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages import UserError


def read_vectors(path: Path, words: Sequence[str], size: int) -> dict[str, np.ndarray]:
    """The vectors that the file at ``path`` has for ``words``: float32 (size,) each.

    A line holds a word and ``size`` numbers, separated by blanks; word2vec's first line, which
    counts words and numbers, is passed over.

    Raises:
        UserError: there is no such file, it is something else, its vectors have another size, or
            it has none of the words.
    """
    if not path.is_file():
        raise UserError(
            f"train.text.embeddings {path} does not exist; download word vectors (GloVe, word2vec "
            "as text) and name their file, or set it to null"
        )
    wanted = set(words)
    vectors: dict[str, np.ndarray] = {}
    with path.open(encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, 1):
                word, *numbers = line.rstrip().split(" ")
                if number == 1 and len(numbers) == 1 and numbers[0].isdigit():
                    continue
                blanks = len(numbers) - size
                if blanks > 0 and not all(map(_is_number, numbers[:blanks])):
                    # A few of GloVe's words hold blanks.
                    word, *numbers = line.rstrip().rsplit(" ", size)
                if len(numbers) != size:
                    raise UserError(
                        f"{path}, line {number}: {len(numbers)} numbers; train.text.embedding "
                        f"is {size}"
                    )
                if word in wanted:
                    vectors[word] = np.array(numbers, np.float32)
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} is no text; binary word2vec files must be converted"
            ) from error
        except ValueError as error:
            raise UserError(f"{path}, line {number}: {error}") from error
    if words and not vectors:
        raise UserError(
            f"{path} has none of the {len(wanted):,} words of the captions; word forms have to "
            "agree: set vocab.normalize to none"
        )
    return vectors


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
