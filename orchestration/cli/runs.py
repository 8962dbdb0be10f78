"""Run jobs in this process with their story on the console: what `run` and `demo` share."""

import time
from collections.abc import Sequence

from assets import ledger
from assets.blessings import require_data
from assets.errors import HeadraceError
from assets.files import write_file_atomically
from assets.home import Home
from assets.naming import partitions_name
from assets.raw.landing import lacking
from assets.raw.places import content_of, landed_files, look_twice
from assets.raw.postgres.batches import waiting
from assets.settings import Settings
from assets.spec import ProductSpec, SelectSpec
from assets.splits.definitions import SELECT_TAG
from orchestration.cli.console import RunStory
from orchestration.definitions import build_definitions
from orchestration.instance import end_dead_runs, open_instance, run_job
from orchestration.jobs import job_name
from orchestration.status import is_complete, is_loaded
from sensors import inbox


class Runner:
    """Definitions and instance, opened once for all runs of a command."""

    def __init__(self, settings: Settings, spec: ProductSpec) -> None:
        self.settings = settings
        self.spec = spec
        self.home = Home(settings)
        self.definitions = build_definitions(settings, {spec.product: spec})
        self.instance = open_instance(settings)
        end_dead_runs(self.instance, is_ui_starting=False)
        self.passed_over: tuple[tuple[str, str], ...] = ()  # what the last look did not take, and why

    def known_batches(self) -> list[str]:
        """Partitions that Dagster knows, in their order there."""
        return list(self.instance.get_dynamic_partitions(partitions_name(self.spec.product)))

    def run(
        self, kind: str, batches: Sequence[str], *, cause: str, title: str, select: SelectSpec | None = None
    ) -> None:
        """Run a job and tell it.

        Args:
            kind: `load`, `journey` or `train`.
            batches: the partitions.
            cause: why, for the run's tags.
            title: what the progress bar says.
            select: which features the models may see, instead of the spec's choice.

        Raises:
            HeadraceError: a step failed or a blocking check stopped the run.
        """
        name = job_name(self.spec.product, kind)
        steps = len(self.definitions.resolve_job_def(name).graph.nodes)
        with RunStory(title, steps) as story:
            result = run_job(
                self.definitions,
                self.instance,
                name,
                product=self.spec.product,
                batches=batches,
                cause=cause,
                on_event=story.hear,
                tags={SELECT_TAG: select.model_dump_json()} if select else {},
            )
        if not result.success:
            raise HeadraceError(
                f"the run of {name} for {', '.join(batches)} was stopped",
                product=self.spec.product,
                found="; ".join(story.failures) or "see the run's log",
                fix=f"mend what is named, then run again: headrace run {self.spec.product} --as-of {batches[-1]}",
            )

    def load(self, batches: Sequence[str], *, cause: str) -> int:
        """Load the batches that are not there yet, neighbours in one run; says how many were.

        A batch that data validation holds back is said, and the others go on.
        """
        changed = self._changed()
        missing = [batch for batch in batches if batch in changed or not is_loaded(self.home, self.spec, batch)]
        self._refuse_lacking(missing)
        if missing:
            self.instance.add_dynamic_partitions(partitions_name(self.spec.product), missing)
        for group in inbox.neighbours(missing, self.known_batches()):
            span = group[0] if len(group) == 1 else f"{group[0]} to {group[-1]}"
            try:
                self.run("load", group, cause=cause, title=f"load {span}")
            except HeadraceError:
                if not all(is_loaded(self.home, self.spec, batch) for batch in group):
                    raise
        return len(missing)

    def load_landed(self, batches: Sequence[str], *, as_of: str = "", cause: str) -> tuple[list[str], int]:
        """Load batches up to one, then those that repeated what is corrected by that, so that they count now.

        Returns:
            the batches up to that one, sorted, and how many were loaded.
        """
        wanted = {batch for batch in batches if not as_of or batch <= as_of}
        loaded = self.load(sorted(wanted), cause=cause)
        if not loaded:
            return sorted(wanted), 0
        again = {batch for batch in self._changed() if not as_of or batch <= as_of}
        return sorted(wanted | again), loaded + self.load(sorted(again), cause=cause)

    def go_all_the_way(self, batch_id: str, *, cause: str, select: SelectSpec | None = None) -> bool:
        """Take one batch through all stages unless that was done; says whether anything was to do.

        With a feature selection of its own it always goes.

        Raises:
            HeadraceError: the batch is held back, waits for another source, or the run was stopped.
        """
        is_there = is_loaded(self.home, self.spec, batch_id) and batch_id not in self._changed()
        if is_there and not select and is_complete(self.home, self.spec, batch_id):
            return False
        if is_there:
            with self.home.lake(self.spec.product).connect() as con:
                require_data(con, self.spec, batch_id, where="run")
        else:
            self._refuse_lacking([batch_id])
        self.run("train" if is_there else "journey", [batch_id], cause=cause, title=batch_id, select=select)
        return True

    def landed_batches(self) -> list[str]:
        """Every batch that has landed or that Dagster knows, sorted; without those that only repeat another.

        Of a table's changes the last is the one behind which nothing waits: those before it are loaded here, since only
        then the next has a name.

        Raises:
            HeadraceError: the places can't be read, the table can't be followed, or a load was stopped.
        """
        landed = landed_files(self.home, self.spec)
        own = {file.batch_id for file in landed if file.source == self.spec.product}
        with self.home.lake(self.spec.product).connect() as con:
            skipped = ledger.skipped_batch_ids(con, self.spec.product)
        if self.spec.source.postgres is not None:
            own |= self._newest_changes()
        return sorted((own | set(self.known_batches())) - skipped)

    def _newest_changes(self) -> set[str]:
        """The batch of a table's changes behind which nothing waits, when those before it are loaded."""
        while found := waiting(self.home, self.spec, asked=self.known_batches()):
            if found.is_newest:
                return {found.batch_id}
            self.load([found.batch_id], cause="command")
        return set()

    def _changed(self) -> set[str]:
        batches, self.passed_over = changed_batches(self.home, self.spec)
        return batches

    def _refuse_lacking(self, batches: Sequence[str]) -> None:
        """Refuse batches that wait for another source's file."""
        landed = {(file.source, file.batch_id) for file in landed_files(self.home, self.spec)}
        with self.home.lake(self.spec.product).connect() as con:
            loaded = {(item.source, item.batch_id) for item in ledger.batches(con) if item.status == "LOADED"}
        for batch in batches:
            sources = lacking(self.spec, batch, landed, loaded)
            if sources:
                raise HeadraceError(
                    f"batch {batch} waits for {', '.join(sources)}",
                    product=self.spec.product,
                    where=", ".join(
                        sorted(
                            {
                                self.spec.references[name].location or str(self.home.landing(self.spec.product))
                                for name in sources
                            }
                        )
                    ),
                    expected="; ".join(self.spec.references[name].files for name in sources),
                    fix=f"headrace land {self.spec.product} FILE, or say `optional: true` at the reference in the spec",
                )


def changed_batches(home: Home, spec: ProductSpec) -> tuple[set[str], tuple[tuple[str, str], ...]]:
    """Batches for which a whole file has landed whose content is not what the ledger last wrote about its name.

    Hashes are remembered beside the lake, so that each file is read and each object downloaded once.

    Returns:
        the batches, and the names of what is not taken, each with the reason.

    Raises:
        HeadraceError: an object store can't be listed.
    """
    with home.lake(spec.product).connect() as con:
        written = ledger.deliveries(con)
    seen = look_twice(home, spec)
    memory = home.settings.lake_folder(spec.product) / "seen.json"
    found = inbox.look(
        seen.files,
        inbox.Cursor.parse(memory.read_text() if memory.exists() else None),
        now_ns=time.time_ns(),
        settle_seconds=dict.fromkeys(spec.sources, 0.0),  # it has looked twice
        newest=inbox.newest_contents(written),
        content_of=content_of,
    )
    write_file_atomically(memory, found.cursor.model_dump_json().encode())
    loaded = [item for item in ledger.current_batches(written) if item.status == "LOADED"]
    waiting = tuple((file.name, why) for file, why in found.waiting)
    return set(inbox.batches_of(spec, found.arrivals, loaded)), (*seen.passed, *waiting)
