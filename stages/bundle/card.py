"""The model card: what ``bundle.json`` says, in Markdown for people."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.markdown import plain
from stages.network.description import Description

FEW = 50  # photos of a label: below, its figures are hardly more than a guess
WEAK = 0.5  # F1: below, more than half of what is said or missed is wrong
MOST = 12  # labels that a sentence lists
FITTED = {  # by how photos become square: to how many pixels they are brought, and what is lost
    "stretch": ("Photos are squeezed to", ", and so is the photo's shape"),
    "crop": ("The middle of photos is brought to", ", and so are the ends of the longer side"),
    "pad": ("Photos are brought, with bars beside them, to", ""),
}


def render(
    description: Description, decision: dict[str, Any], metrics: dict[str, Any], **more: Any
) -> str:
    """The card of a bundle.

    Args:
        decision, metrics: as in ``bundle.json``.
        more: its ``provenance``; ``parameters``, how many numbers the weights are; and
            ``words_known``, the share of captions' words that the vocabulary knows, where it is
            little.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # it is Markdown; labels and all that is foreign go through ``md``
    )
    environment.filters |= {
        "md": plain,
        "named": lambda name: name.replace("_", " ").replace("f1", "F1"),
        "count": lambda number: f"{number:,}",
        "one": lambda number: f"{number:.1f}",
        "three": lambda number: "–" if number is None else f"{number:.3f}",
        "four": lambda number: f"{number:.4f}",
        "small": lambda number: f"{number:.1g}",
        "json": lambda content: json.dumps(content, indent=2, ensure_ascii=False),
    }
    return environment.get_template("card.md").render(
        labels=description.labels,
        takes=_takes(description),
        reads=description.reads_captions,
        has_transformer=description.has_transformer,
        size=description.input_size,
        thresholds=decision["thresholds"],
        temperature=decision["temperature"],
        limits=limits(description, metrics, more.get("words_known")),
        precision_said=_precision(metrics["weights"]),
        data=more["provenance"]["data"],
        **metrics,
        **more,
    )


def limits(
    description: Description, metrics: dict[str, Any], words_known: float | None = None
) -> list[str]:
    """What is to be known of the network before it is relied on, sentences in Markdown."""
    validation: dict[str, Any] = metrics["validation"]
    sentences = []
    labels = validation["labels"]
    if weak := [label for label, each in labels.items() if each["count"] and each["f1"] < WEAK]:
        sentences.append(f"F1 below {WEAK:g}, not to be relied on: {_list(weak)}.")
    if few := [label for label, each in labels.items() if each["count"] < FEW]:
        sentences.append(
            f"Fewer than {FEW} validation photos, so that little is known of how good they are: "
            f"{_list(few)}."
        )
    if never := validation["never_given"]:
        sentences.append(f"Given to no validation photo: {_list(never)}.")
    sentences.append(
        "Thresholds, temperature and the best epoch were found on the validation photos; photos "
        "from elsewhere will do worse."
    )
    if description.sees_images:
        brought, lost = FITTED[description.fit]
        sentences.append(
            f"{brought} {description.stored_size} × {description.stored_size} pixels"
            + (f", of which the centre {description.crop} count" if description.crop else "")
            + f": small things are lost{lost}."
        )
    if description.has_transformer:
        sentences.append(f"Of a caption the first {description.text['max_tokens']} tokens count.")
    elif description.reads_captions:
        sentences.append(
            f"Of a caption the first {description.vocabulary['max_length']} words count, of the "
            f"{len(description.vocabulary['words']):,} that are known."
        )
    if words_known is not None:
        sentences.append(
            f"Of the words of validation captions it knows {words_known:.1%}: captions say little."
        )
    if (alone := metrics["without_captions"]) is not None:
        sentences.append(
            f"For a photo without a caption it does worse: micro-F1 {alone['micro_f1']:.3f} "
            f"instead of {metrics['weights']['after']['micro_f1']:.3f} when all captions are left "
            "out, by the same thresholds."
        )
    return sentences


def _takes(description: Description) -> str:
    if description.inputs == "image+caption":
        return "a photo, with a caption or without"
    return "a photo" if description.sees_images else "the caption of a photo"


def _precision(weights: dict[str, Any]) -> str:
    if weights["precision"] == "float32":
        return "in single precision"
    changed, before, after = (weights[name] for name in ("changed_decisions", "before", "after"))
    return (
        f"in half precision, by which {changed:.2%} of the decisions on validation photos changed, "
        f"and micro-F1 from {before['micro_f1']:.4f} to {after['micro_f1']:.4f}"
    )


def _list(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - MOST} more" if len(labels) > MOST else ""
    return ", ".join(plain(label) for label in labels[:MOST]) + more
