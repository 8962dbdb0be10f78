"""Loading a file of a test as a delivery, through the seam that the raw assets use."""

import hashlib
import shutil
from pathlib import Path

from assets.files import own_path
from assets.lake import Lake
from assets.raw.ingest import load_staged
from assets.raw.places import Staged
from assets.records import Batch
from assets.spec import SourceSpec


def staged_copy(lake: Lake, path: Path) -> Staged:
    """A staged copy of a file, as a place makes one."""
    copy = own_path(lake.staging, "staged")
    shutil.copyfile(path, copy)
    content = copy.read_bytes()
    return Staged(copy, hashlib.sha256(content).hexdigest(), len(content))


def load_file(lake: Lake, name: str, source: SourceSpec, path: Path, batch_id: str) -> Batch:
    """Load a file as the delivery of a batch."""
    return load_staged(lake, name, source, staged_copy(lake, path), file_name=path.name, batch_id=batch_id)
