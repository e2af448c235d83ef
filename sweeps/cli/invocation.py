"""How a person calls these commands here, so that what is printed can be typed."""

import os
import shutil
import sys
from pathlib import Path


def program_name(name: str) -> str:
    """`name` where it is on the PATH, else its place beside the running interpreter."""
    beside = Path(sys.executable).parent / name
    on_path = shutil.which(name)
    if on_path is not None and Path(on_path).samefile(beside if beside.exists() else on_path):
        return name
    if beside.exists():
        return os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)
    return f"{Path(sys.executable).name} -m {name}"
