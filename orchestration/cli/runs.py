"""Run jobs in this process with their story on the console: what `run` and `demo` share."""

from collections.abc import Sequence

from assets import ledger
from assets.blessings import require_data
from assets.errors import HeadraceError
from assets.home import Home
from assets.naming import partitions_name
from assets.raw.landing import lacking, landed_files
from assets.settings import Settings
from assets.spec import ProductSpec, SelectSpec
from assets.splits.definitions import SELECT_TAG
from orchestration.cli.console import RunStory
from orchestration.definitions import build_definitions
from orchestration.instance import end_dead_runs, open_instance, run_job
from orchestration.jobs import job_name
from orchestration.status import is_complete, is_loaded
from sensors.inbox import neighbours


class Runner:
    """Definitions and instance, opened once for all runs of a command."""

    def __init__(self, settings: Settings, spec: ProductSpec) -> None:
        self.settings = settings
        self.spec = spec
        self.home = Home(settings)
        self.definitions = build_definitions(settings, {spec.product: spec})
        self.instance = open_instance(settings)
        end_dead_runs(self.instance, is_ui_starting=False)

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
        missing = [batch for batch in batches if not is_loaded(self.home, self.spec, batch)]
        self._refuse_lacking(missing)
        if missing:
            self.instance.add_dynamic_partitions(partitions_name(self.spec.product), missing)
        for group in neighbours(missing, self.known_batches()):
            span = group[0] if len(group) == 1 else f"{group[0]} to {group[-1]}"
            try:
                self.run("load", group, cause=cause, title=f"load {span}")
            except HeadraceError:
                if not all(is_loaded(self.home, self.spec, batch) for batch in group):
                    raise
        return len(missing)

    def go_all_the_way(self, batch_id: str, *, cause: str, select: SelectSpec | None = None) -> bool:
        """Take one batch through all stages unless that was done; says whether anything was to do.

        With a feature selection of its own it always goes.

        Raises:
            HeadraceError: the batch is held back, waits for another source, or the run was stopped.
        """
        is_there = is_loaded(self.home, self.spec, batch_id)
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
        """Every batch that has landed or that Dagster knows, sorted."""
        landed = landed_files(self.spec, self.home.landing(self.spec.product))
        own = {file.batch_id for file in landed if file.source == self.spec.product}
        return sorted(own | set(self.known_batches()))

    def _refuse_lacking(self, batches: Sequence[str]) -> None:
        """Refuse batches that wait for another source's file."""
        landed = {
            (file.source, file.batch_id) for file in landed_files(self.spec, self.home.landing(self.spec.product))
        }
        with self.home.lake(self.spec.product).connect() as con:
            loaded = {(item.source, item.batch_id) for item in ledger.batches(con) if item.status == "LOADED"}
        for batch in batches:
            sources = lacking(self.spec, batch, landed, loaded)
            if sources:
                raise HeadraceError(
                    f"batch {batch} waits for {', '.join(sources)}",
                    product=self.spec.product,
                    where=str(self.home.landing(self.spec.product)),
                    expected="; ".join(self.spec.references[name].files for name in sources),
                    fix=f"headrace land {self.spec.product} FILE, or say `optional: true` at the reference in the spec",
                )
