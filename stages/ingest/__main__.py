"""ingest: photos and labels from a source → records, image store, list of what was set aside."""

import gc
import warnings
from pathlib import Path

from stages import printable, run
from stages.files import alone, room, whole, write_csv
from stages.ingest import (
    addresses,
    archives,
    corrections,
    decode_cache,
    misfits,
    packed,
    records,
    rejected,
    sources,
    summary,
)
from stages.ingest.figures import measure, outcome
from stages.ingest.images import IMAGES
from stages.ingest.intake import as_records, label_names, take_in
from stages.ingest.label_rules import LabelRules
from stages.ingest.listing import list_rows
from stages.ingest.params import Ingest
from stages.ingest.photos import Files
from stages.ingest.rejected import REJECTED, check_loss
from stages.metrics import write as write_metrics
from stages.params import read


def main() -> None:
    # What Pillow finds odd in a photo that it can read all the same.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    params = read(Ingest)
    sources.chosen(params)  # what is wrong with its options is said before anything is read
    with room(REJECTED.with_name("rows")) as folder:
        ingest(params, folder)


def ingest(params: Ingest, folder: Path) -> None:
    """Runs the stage; what is only for now lies in ``folder``."""
    rules = LabelRules(params)
    overlay = corrections.read(Path(params.corrections), rules)
    with archives.opened(params, folder) as shown:
        listing, columns = list_rows(shown, rules, folder), sources.columns(shown)
    check_loss(listing.total, listing.rejected, params)  # before hours of decoding
    unfetched = addresses.fetch(listing.rows)
    with (
        # Experiments share what was kept; none is to replace it under the hands of another.
        alone(decode_cache.place(params.form, params.store)),
        whole(IMAGES) as store,
        whole(records.RECORDS) as path,
    ):
        store.mkdir()
        files = Files(Path(shown.root), Path(params.root), packed.place())
        taken, decoded, unreadable = take_in(listing, shown, files, unfetched, store, folder)
        lost = listing.rejected + unreadable
        check_loss(listing.total, lost, params)
        allowed = params.labels or label_names(taken, listing.label_lists)
        corrected = corrections.lay_over(
            overlay, taken, listing.label_lists, allowed, folder / "corrected"
        )
        rejected.write(lost + listing.no_photos + corrected.rejected)
        names = params.labels or label_names(corrected.rows, corrected.label_lists)
        table = as_records(corrected.rows, corrected.label_lists, names, folder).scan()
        records.write(table, names, path)
        decode_cache.keep(store, taken.scan(), params.form, params.store)
        write_csv(corrections.CHECKED, ["id"], ([id] for id in corrected.checked))
        metrics = measure(table, len(names), len(lost)) | {"corrections": corrected.figures()}
        labels = summary.count_labels(table, names)
        misfit_counts = misfits.figures(taken.scan())
    doubts = summary.doubts(labels, params.source)
    metrics |= misfit_counts | {"label_warnings": len(doubts)}
    if columns:
        metrics["columns"] = summary.column_names(columns)
    summary.write(labels)
    write_metrics("ingest", metrics)
    for line in outcome(metrics, decoded, len(listing.no_photos)):
        print(f"ingest: {line}")
    for line in summary.lines(labels, metrics, columns):
        print(printable(f"ingest: {line}"))
    for warning in [
        *doubts,
        *corrections.warnings(overlay, corrected.emptied),
        *rules.warnings(),
        *misfits.warnings(misfit_counts, params.depth),
    ]:
        print(printable(f"ingest: warning: {warning}"))


if __name__ == "__main__":
    gc.freeze()  # what the imports made stays; looking through it again and again takes longer
    run(main)
