"""Turn data/raw into records of three splits."""

from transfer.core.declared import reads, writes
from transfer.core.errors import run
from transfer.core.files import write_csv, write_json
from transfer.core.params import read_params
from transfer.dataset.preprocess import Settings, check_left_out, preprocess
from transfer.workers.runners import make_runner

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
    """Split, decode, resize, write; list the images that cannot be used."""
    params = read_params(PARAMS)
    records = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    same = params.duplicates
    settings = Settings(
        params.split, params.image_size, params.max_images, params.seed, same, params.symmetry, params.resize
    )
    with make_runner(params.runner, params.dask) as runner:
        done = preprocess(RAW, records, settings, runner, QUARANTINE)
    done.spec.write(SPEC)
    write_csv(done.splits, SPLITS)
    write_csv(done.duplicates, DUPLICATES)
    write_json(done.figures(), METRICS)
    print(f"read   {RAW}: {len(done.splits) + len(done.quarantine)} images")
    counts = ", ".join(f"{split} {count}" for split, count in done.spec.counts.items())
    print(f"wrote  {TRAIN.parent}: {counts}, {params.image_size} x {params.image_size} pixels")
    print("".join(f"       {line}\n" for line in done.summary(DUPLICATES)), end="")
    check_left_out(done, params.max_bad_fraction, same.max_removed_fraction)


if __name__ == "__main__":
    run(main)
