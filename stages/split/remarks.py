"""What the stage says, in sentences, of the figures of ``metrics/split.json``."""

from collections.abc import Iterator
from typing import Any


def summary(figures: dict[str, Any]) -> str:
    """How many photos each part has, and how far apart they are."""
    gap, least = (figures[f"largest_relative_gap{end}"] for end in ("", "_smallest_possible"))
    parts = figures["photos"]
    held = f", {parts['holdout']:,} are held out" if "holdout" in parts else ""
    text = (
        f"{parts['train']:,} photos train, {parts['validation']:,} validate{held}; largest "
        f"relative gap of a label's rate {gap:.2g}"
    )
    return f"{text}, with these groups at least {least:.2g}" if "groups" in figures else text


def remarks(figures: dict[str, Any]) -> Iterator[str]:
    """What is to be known of the parts beside that, and what is most likely a mistake."""
    given, time = figures.get("given"), figures.get("time")
    others = "train or are held out" if "holdout" in figures else "train"
    if given and not given["validation"]:
        yield "the source gives photos to train, but none to validation; they were split as others"
    elif given and given["neither"]:
        yield (
            f"{given['neither']:,} photos have no part from the source; they {others}, but for "
            "those that belong with photos of validation or came before"
        )
    if time and time["photos_without"]:
        yield (
            f"{time['photos_without']:,} photos have no time; they train, but for those that "
            "belong with photos of validation or came before"
        )
    groups = figures.get("groups", {"in_several_parts": 0, "in_labelled_test": 0})
    same = figures.get("same_photos_in_several_parts", 0)
    if groups["in_several_parts"] or same:
        yield (
            f"warning: {groups['in_several_parts']:,} groups and {same:,} sets of photos that are "
            "the same stand in several parts, as the source or an earlier delivery has parted "
            "them; figures of validation flatter. Have the source give each one part, or none"
        )
    if groups["in_labelled_test"]:
        yield (
            f"warning: {groups['in_labelled_test']:,} groups have photos in the labelled test set "
            "as well; figures of it flatter. Give each group to one subset"
        )
