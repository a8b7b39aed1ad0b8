"""Download and check the data sets: `make data`. What is there already is checked and left alone."""

from __future__ import annotations

from adam_repro.app import shown_kindly
from adam_repro.data import cifar10, default_root, imdb, mnist


def main() -> None:
    root = default_root()
    with shown_kindly():
        for source in (mnist, imdb, cifar10):
            data = source.load(root, stand_in="forbid")
            train, test = len(data.train_y), len(data.test_y)
            print(f"{data.name}: {train:,} training and {test:,} test examples, checked, in {root}", flush=True)


if __name__ == "__main__":
    main()
