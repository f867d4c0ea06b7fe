"""The folder in which the embedded default keeps its database, results and key."""

import os
from pathlib import Path


def home() -> Path:
    """`$TOCSIN_HOME`, else `~/.tocsin`; made when missing, readable by its owner only."""
    folder = Path(os.environ.get("TOCSIN_HOME") or Path.home() / ".tocsin")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
