"""Download and check the data sets: `make data`. What is there already is checked and left alone."""

from __future__ import annotations

from adam_repro.app import shown_kindly
from adam_repro.data import cifar10, default_root, imdb, mnist
from adam_repro.errors import UserError, in_full


def main() -> None:
    root = default_root()
    failures = []
    with shown_kindly():
        for source in (mnist, imdb, cifar10):
            try:
                data = source.load(root, stand_in="forbid")
            except (UserError, OSError) as error:  # the others may be there all the same
                failures.append(in_full(error))
                continue
            train, test = len(data.train_y), len(data.test_y)
            print(f"{data.name}: {train:,} training and {test:,} test examples, checked, in {root}", flush=True)
        if failures:
            raise UserError("\n\n".join(failures))


if __name__ == "__main__":
    main()
