"""`python -m tests.fuzz NAME --seconds N [--seed S]`: NAME is a module of this folder."""

from __future__ import annotations

import argparse
import importlib
import random


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("name", help="elf, verify, lang, unwind, symbols or cuda")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 40)
    print(f"{options.name}: from seed {seed}")
    print(importlib.import_module(f"tests.fuzz.{options.name}").run(options.seconds, seed))


main()
