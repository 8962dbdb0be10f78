"""Files of parcels and depots, made by a seed: which rows are bad, and what each row must become, is known here.

Only text is made; nothing of the platform is used, so that what it did can be held against it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

HEADER = ("parcel_id", "sent_at", "depot", "grams", "is_late")
DEPOTS = ("Aalen", "Brno", "Cork", "Delft, north")
# what a bad row has in place of a field: column, text
FAULTS = (("parcel_id", ""), ("parcel_id", "x17"), ("sent_at", "soon"), ("grams", "12.5"), ("grams", "heavy"))
# texts that mean no value once the spec is mended, so that their rows pass when they are replayed
MENDABLE = (("grams", "n/a"), ("is_late", "n/a"))


def chance(seed: str) -> Random:
    """A source of chance that is the same for the same seed."""
    return Random(seed)  # noqa: S311 - files and moments, no secrets


@dataclass(frozen=True)
class Delivery:
    """A file as it lands.

    Args:
        name: of the file.
        text: what is in it.
        keys: of each of its rows, from row 1 on: the parcel's or depot's name, as written.
        bad: how many of the rows don't fit the contract as it is at first.
        is_refused: whether the file as a whole doesn't.
    """

    name: str
    text: str
    keys: tuple[str, ...]
    bad: int = 0
    is_refused: bool = False

    @property
    def content(self) -> bytes:
        """Its bytes."""
        return self.text.encode()

    @property
    def sha256(self) -> str:
        """Of its bytes."""
        return hashlib.sha256(self.content).hexdigest()

    def renamed(self, name: str) -> "Delivery":
        """The same content under another name."""
        return replace(self, name=name)


def parcels(
    random: Random,
    batch: int,
    *,
    name: str = "",
    faults: Sequence[tuple[str, str]] = FAULTS,
    without: str = "",
    extra: str = "",
    bad_share: float = 0.08,
) -> Delivery:
    """A file of parcels; each call makes other rows, of which some keys are those of any other file of the batch.

    Args:
        random: where chance comes from.
        batch: its number; parcels of a batch have the same thousand of keys.
        name: of the file, else the batch's own.
        faults: what bad rows have.
        without: a column that is left out; without sent_at a file is refused.
        extra: a column that the contract does not know.
        bad_share: how many rows are bad.
    """
    rows, keys, bad = [], [], 0
    for number in random.sample(range(1000), random.randint(20, 120)):
        row = {
            "parcel_id": str(batch * 1000 + number),
            "sent_at": f"2024-01-{batch:02}T{random.randrange(24):02}:{random.randrange(60):02}:00",
            "depot": f'"{random.choice(DEPOTS)}"',
            "grams": str(random.randrange(10, 30_000)),
            "is_late": random.choice(["true", "false", ""]),
        }
        if random.random() < bad_share:
            column, text = random.choice(faults)
            row[column] = text
            bad += 1
        if extra:
            row[extra] = random.choice(["1", "2.5", "", "three"])
        keys.append(row["parcel_id"])
        rows.append(",".join(text for column, text in row.items() if column != without))
    header = ",".join(column for column in (*HEADER, *([extra] if extra else [])) if column != without)
    text = "\n".join([header, *rows, ""])
    return Delivery(name or f"parcels_{batch:02}.csv", text, tuple(keys), bad, is_refused=without == "sent_at")


def depots(random: Random) -> Delivery:
    """The register of depots; each call gives the depots other countries."""
    lines = [f'"{depot}",{random.choice(["cz", "de", "ie", "nl"])}{random.randrange(1000)}' for depot in DEPOTS]
    return Delivery("depots.csv", "\n".join(["depot,country", *lines, ""]), DEPOTS)
