"""Download and check the data sets: `make data`. What is there already is checked and left alone."""

from __future__ import annotations

from adam_repro.app import shown_kindly
from adam_repro.data import default_root, mnist


def main() -> None:
    root = default_root()
    with shown_kindly():
        data = mnist.load(root, stand_in="forbid")
        print(f"{data.name}: {len(data.train_y):,} training and {len(data.test_y):,} test examples, checked, in {root}")


if __name__ == "__main__":
    main()
