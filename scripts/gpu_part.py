"""Runs one part of scripts/gpu: gpu_part.py MODULE NAME FILE OPTIONS. What it returns is written to FILE."""

import importlib
import json
import os
import sys
from pathlib import Path

from gpu_forms import Options, Skipped

from kdjax.training import parallel


def main() -> None:
    module, name, file, options = sys.argv[1:]
    parallel.setup()

    def save(record: dict) -> None:
        temporary = Path(f"{file}.tmp")
        temporary.write_text(json.dumps(record))
        os.replace(temporary, file)

    try:
        save(getattr(importlib.import_module(module), name)(Options(**json.loads(options)), save))
    except Skipped as why:
        save({"skipped": str(why)})


if __name__ == "__main__":
    main()
