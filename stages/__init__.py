"""The stages of the pipeline, one room each, and what they share on the ground floor.

``python -m stages.NAME`` runs a stage: parameters come from ``params.yaml``, inputs and outputs
are the artefacts that ``dvc.yaml`` lists for it.
"""

import sys
from collections.abc import Callable

FORMULAS = ("=", "+", "-", "@")  # their first letters


class UserError(Exception):
    """Something only the user can mend: which file, which row, what is wrong, what to do.

    Stages end with its text and exit status 1, without a traceback.
    """


def printable(text: str) -> str:
    """``text`` without codes for the terminal and other characters that are not seen, escaped;
    line breaks stay.
    """
    return "".join(
        letter
        if letter.isprintable() or letter == "\n"
        else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in text
    )


def for_people(text: str) -> str:
    """``text`` as a cell of a CSV that people read, and no program of ours: printable, and after an
    apostrophe where a spreadsheet would take it for a formula (OWASP, CSV Injection).
    """
    text = printable(text)
    return f"'{text}" if text.startswith(FORMULAS) else text


def run(main: Callable[[], None]) -> None:
    """Runs a stage's ``main`` and turns errors that are not bugs into one sentence."""
    stage = main.__globals__["__package__"].rpartition(".")[2]
    try:
        main()
    except UserError as error:
        sys.exit(f"{stage}: {printable(str(error))}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(printable(f"{stage}: {where}{error.strerror or error}"))
    except KeyboardInterrupt:
        sys.exit(f"{stage}: interrupted")
