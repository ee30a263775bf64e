"""Turn data/raw into records of three splits."""

from transfer.declared import reads, writes
from transfer.errors import run
from transfer.files import write_csv, write_json
from transfer.params import read_params
from transfer.preprocess import check_quarantine, preprocess
from transfer.runners import make_runner

PARAMS = reads("params.yaml")
RAW = reads("data/raw")
TRAIN = writes("data/records/train")
VALIDATION = writes("data/records/validation")
TEST = writes("data/records/test")
SPEC = writes("data/records/spec.json")
SPLITS = writes("data/splits.csv")
QUARANTINE = writes("data/quarantine.csv")
DUPLICATES = writes("data/duplicates.csv")
METRICS = writes("metrics/data.json")


def main() -> None:
    """Split, decode, resize, write; list what could not be used."""
    params = read_params(PARAMS)
    records = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    runner = make_runner(params.runner, params.beam_options)
    size, duplicates = params.image_size, params.duplicates
    done = preprocess(RAW, records, params.split, size, params.max_images, params.seed, duplicates, runner)
    done.spec.write(SPEC)
    write_csv(done.splits, SPLITS)
    write_csv(done.quarantine, QUARANTINE)
    write_csv(done.duplicates, DUPLICATES)
    write_json(done.figures(), METRICS)
    print(f"read   {RAW}: {len(done.splits) + len(done.quarantine)} images")
    print(f"wrote  {TRAIN.parent}: {done.spec.counts}, {params.image_size} x {params.image_size} pixels")
    print(f"       quarantined: {len(done.quarantine)} ({QUARANTINE})")
    print("".join(f"       {row.image}: {row.reason}\n" for row in done.quarantine.head(10).itertuples()), end="")
    print(f"       the same as another: {len(done.duplicates)} ({DUPLICATES}), never in two splits")
    for files in done.several_labels()[:10]:
        print("       one image, several labels: " + ", ".join(f"{image} ({label})" for image, label in files))
    check_quarantine(done, params.max_bad_fraction, QUARANTINE)


if __name__ == "__main__":
    run(main)
