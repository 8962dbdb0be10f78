"""What is killed: small days in the life of a product, each a list of steps that the platform takes after files land.

A step is what one command or run of the platform does, through the functions that those call; so a step that was
killed is taken again as a whole, as a person or Dagster would, and the day goes on from there.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from assets import ledger
from assets.cleaned.dbt import build
from assets.files import write_file_atomically
from assets.home import Home
from assets.lake import Lake
from assets.maintenance.maintain import maintain
from assets.raw.ingest import load_staged, prepare_raw_table
from assets.raw.places import deliver, landed_files, stage
from assets.raw.reader.protocol import RefusedFileError
from assets.raw.replay import forget_loaded, replay, to_replay
from assets.settings import Settings
from assets.spec import ProductSpec
from tests.faults.deliveries import FAULTS, MENDABLE, Delivery, chance, depots, parcels

PRODUCT = Path(__file__).parent / "product"


def spec_with(changes: dict[str, Any] | None = None) -> ProductSpec:
    """The product of parcels, its source's fields changed."""
    fields = yaml.safe_load((PRODUCT / "parcels.yaml").read_text(encoding="utf-8"))
    fields["source"].update(changes or {})
    return ProductSpec.model_validate(fields)


@dataclass(frozen=True)
class Step:
    """What the platform does.

    Args:
        does: it.
        lands: files that somebody else has put into the landing folder before.
        delivers: files that the step itself delivers.
        spec: the product as it is then.
        seed: of the order in which files are loaded.
    """

    does: Callable[["Day", "Step"], None]
    lands: tuple[Delivery, ...] = ()
    delivers: tuple[Delivery, ...] = ()
    spec: ProductSpec = field(default_factory=spec_with)
    seed: int = 0


@dataclass(frozen=True)
class Day:
    """A scenario of one seed in a home."""

    home: Home
    steps: tuple[Step, ...]

    @property
    def lake(self) -> Lake:
        """The lake of the parcels."""
        return self.home.lake("parcels")

    @property
    def deliveries(self) -> list[Delivery]:
        """Everything that lands."""
        return [delivery for step in self.steps for delivery in (*step.lands, *step.delivers)]

    def run(self, before_step: Callable[[int], None]) -> None:
        """Take the steps that were not taken yet. What lands and which step is next outlives a kill.

        Args:
            before_step: is told each step's number before it is taken, and the number of steps at the end.
        """
        done = self.home.settings.home / "steps_done"
        for number in range(int(done.read_text()) if done.exists() else 0, len(self.steps)):
            before_step(number)
            step = self.steps[number]
            for delivery in step.lands:
                (self.home.landing("parcels") / delivery.name).write_bytes(delivery.content)
            step.does(self, step)
            write_file_atomically(done, str(number + 1).encode())
        before_step(len(self.steps))


def ingest(day: Day, step: Step) -> None:
    """Load what has landed, in an order of the seed's; refused files are the quarantine's.

    Twice, as `headrace run` does: what repeated a file that is corrected by then counts from then on.
    """
    for name, source in step.spec.sources.items():
        prepare_raw_table(day.lake, name, source)
    files = landed_files(day.home, step.spec)
    chance(f"order {step.seed}").shuffle(files)
    for file in (*files, *files):
        with suppress(RefusedFileError):
            load_staged(
                day.lake,
                file.source,
                step.spec.sources[file.source],
                stage(file, day.lake.staging),
                file_name=file.name,
                batch_id=file.batch_id,
                version_label=file.version_label,
            )


def ingest_and_build(day: Day, step: Step) -> None:
    """Load what has landed, then all tables of dbt."""
    ingest(day, step)
    results = build(day.lake)
    assert all(result.is_success for result in results), results


def deliver_and_ingest(day: Day, step: Step) -> None:
    """Hand the files over as `headrace land` does, then load them."""
    outbox = day.home.settings.home / "outbox"
    for delivery in step.delivers:
        write_file_atomically(outbox / delivery.name, delivery.content)
        deliver(day.home, step.spec, outbox / delivery.name)
    ingest(day, step)


def replay_all(day: Day, step: Step) -> None:
    """Read what waits in quarantine again, and forget the bytes of what is loaded by now.

    Twice: a column that the last file widens is another reason for rows of the first that wait on, so a day that is
    killed in between and taken up would say the newer one.
    """
    for _ in range(2):
        for delivery in to_replay(day.lake, step.spec):
            replay(day.home, step.spec, delivery)
    forget_loaded(day.lake)


def maintain_later(day: Day, step: Step) -> None:
    """Maintain the lake a month from now, when nothing is too young to be removed: no copy of a dead process either."""
    (day.lake.staging / f"{step.seed}-left.staged").touch()
    maintain(day.home, step.spec, now=ledger.now() + timedelta(days=30))


def create(seed: int) -> list[Step]:
    """The first files of a product that has no lake yet, delivered by a command."""
    random = chance(f"create {seed}")
    return [Step(deliver_and_ingest, delivers=(parcels(random, 1), depots(random)), seed=seed)]


def files(seed: int) -> list[Step]:
    """Corrections, a duplicate, a refused file and its repair, a new register."""
    random = chance(f"files {seed}")
    first = parcels(random, 1)
    landed = (first, first.renamed("parcels_05.csv"), parcels(random, 3, without="sent_at"), depots(random))
    return [
        Step(ingest, landed, seed=seed),
        Step(ingest, (parcels(random, 1 + 4 * (seed % 2)), parcels(random, 3), depots(random)), seed=seed),
    ]


def versions(seed: int) -> list[Step]:
    """Versions of one batch in the right and in the wrong order, and columns that nobody knows.

    In the end one that repeats another batch, so that the rows before it count no more.
    """
    random = chance(f"versions {seed}")
    other = parcels(random, 2, extra="note")
    both = [parcels(random, 4, name=f"parcels_04-v{version}.csv", extra="note") for version in (9, 10)]
    return [
        Step(ingest, (other, both[seed % 2]), seed=seed),
        Step(ingest, (both[1 - seed % 2],), seed=seed),
        Step(ingest, (other.renamed("parcels_04-v11.csv"),), seed=seed),
    ]


def evolve(seed: int) -> list[Step]:
    """Columns that are added, dropped and widened, and a correction that has them too."""
    random = chance(f"evolve {seed}")
    spec = spec_with({"contract": "evolve"})
    return [
        Step(ingest, (parcels(random, 1), parcels(random, 2, extra="note")), spec=spec, seed=seed),
        Step(ingest, (parcels(random, 1, without="depot"), parcels(random, 3, extra="Weight")), spec=spec, seed=seed),
    ]


def mend(seed: int) -> list[Step]:
    """Rows and a file that wait in quarantine, and a spec that takes them."""
    random = chance(f"mend {seed}")
    landed = (
        parcels(random, 1, faults=MENDABLE, bad_share=0.3),
        parcels(random, 2, faults=(*MENDABLE, *FAULTS), bad_share=0.3),
        parcels(random, 3, without="sent_at"),
    )
    mended = spec_with({"nulls": ["", "n/a"], "contract": "evolve", "required": ["parcel_id"]})
    return [Step(ingest, landed, seed=seed), Step(replay_all, spec=mended, seed=seed)]


def tables(seed: int) -> list[Step]:
    """Tables of dbt over a first load, then over a batch that is late, a correction and a new register."""
    random = chance(f"tables {seed}")
    corrected = parcels(random, 1 + 2 * (seed % 2))
    return [
        Step(ingest_and_build, (parcels(random, 1), parcels(random, 3), depots(random)), seed=seed),
        Step(ingest_and_build, (parcels(random, 2), corrected, depots(random)), seed=seed),
    ]


def tidy(seed: int) -> list[Step]:
    """Small files, deleted rows, old snapshots and left copies, and the maintenance that takes them away."""
    random = chance(f"tidy {seed}")
    landed = (parcels(random, 1), parcels(random, 2), parcels(random, 3, without="sent_at"))
    return [
        Step(ingest, landed, seed=seed),
        Step(maintain_later, seed=seed),
        Step(ingest, (parcels(random, 1 + seed % 2),), seed=seed),  # deletes a part of what was merged
        Step(maintain_later, seed=seed),
    ]


SCENARIOS: dict[str, Callable[[int], list[Step]]] = {
    "create": create,
    "files": files,
    "versions": versions,
    "evolve": evolve,
    "mend": mend,
    "tables": tables,
    "tidy": tidy,
}


def day_of(settings: Settings, scenario: str, seed: int) -> Day:
    """A scenario of one seed in a home."""
    return Day(Home(settings), tuple(SCENARIOS[scenario](seed)))
