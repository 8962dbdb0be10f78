"""The commands of `headrace`. Each reads its arguments and calls one function; heavy imports stay inside."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from assets.errors import HeadraceError
from assets.settings import Settings, prepare_process
from assets.spec import ProductSpec, SelectSpec, load_specs
from orchestration.cli.console import out, show_error, table

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Headrace: from landed files to a served champion, on your laptop.",
)
Product = Annotated[str, typer.Argument(help="A product: the name of its file in orchestration/products.")]
Model = Annotated[str, typer.Argument(help="A model's id, or the unique start of it (headrace models lists them).")]
Reason = Annotated[str, typer.Option(help="Why; it stands in the ledger and on the model card.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def main() -> None:
    """Entry point: an error that a user can mend is shown as one, with exit code 1."""
    prepare_process()
    try:
        app()
    except HeadraceError as error:
        show_error(error)
        sys.exit(1)
    except OSError as error:  # a full disk, a folder that may not be written
        if error.filename is None:
            raise
        show_error(HeadraceError("the system refuses", where=str(error.filename), found=error.strerror or str(error)))
        sys.exit(1)
    except KeyboardInterrupt:
        show_error(HeadraceError("interrupted; nothing is lost, run the same command again to go on"))
        sys.exit(130)


def find_product(settings: Settings, name: str) -> ProductSpec:
    """The spec of a product.

    Raises:
        HeadraceError: there is none of that name.
    """
    specs = load_specs(settings.products)
    if name not in specs:
        raise HeadraceError(
            "no such product",
            product=name,
            where=str(settings.products),
            expected=", ".join(specs) or "a *.yaml file",
            found=name,
            fix=f"add {name}.yaml there (CONTRIBUTING.md says how), or name one of these",
        )
    return specs[name]


def as_raw_reads_it(settings: Settings, spec: ProductSpec, file: Path) -> tuple[Path, Sequence[str]]:
    """A file, or its copy with a mended header where names are missing, there twice or the platform's own.

    What can't be mended is delivered as it is: the raw stage says what is wrong and keeps it.
    """
    from assets.raw.landing import identify
    from orchestration.new.plain import mended_file

    identity = identify(spec, file.name)
    if identity is None:
        return file, ()
    try:
        return mended_file(file, spec.sources[identity.source], settings.home / "converted" / spec.product)
    except HeadraceError:
        return file, ()


def require_batches(runner: Any, *wanted: str) -> list[str]:
    """Every batch of a product, sorted.

    Raises:
        HeadraceError: nothing has landed, or a wanted batch isn't there.
    """
    batches: list[str] = runner.landed_batches()
    unknown = [batch for batch in wanted if batch and batch not in batches]
    if not batches or unknown:
        raise HeadraceError(
            "there is no such batch" if batches else "nothing has landed",
            product=runner.spec.product,
            where=runner.spec.source.location or str(runner.home.landing(runner.spec.product)),
            expected=", ".join(batches) or runner.spec.source.files,
            found=", ".join(unknown),
            fix="choose one of these" if batches else f"headrace land {runner.spec.product} FILE...",
        )
    return batches


def parse_selection(text: str) -> SelectSpec:
    """A feature selection as it is typed: `importance:20`, `names:a,b`.

    Raises:
        HeadraceError: it isn't one.
    """
    strategy, _, rest = text.partition(":")
    fields: dict[str, Any] = {"strategy": strategy}
    if rest:
        fields["names" if strategy == "names" else "top"] = rest.split(",") if strategy == "names" else rest
    try:
        return SelectSpec.model_validate(fields)
    except ValidationError as error:
        raise HeadraceError(
            "no such feature selection",
            where="--select",
            expected="all, importance:N, mutual_information:N or names:a,b",
            found=text,
            fix=str(error.errors()[0]["msg"]),
        ) from None


@app.command()
def demo(product: Annotated[str, typer.Argument(help="Which demo.")] = "flights") -> None:
    """Tell a product's story on real data: land, train, decide, serve, watch. Run it again at any point."""
    from orchestration.cli import demo as stories
    from orchestration.demos import find_demo

    find_demo(product)
    settings = Settings()
    stories.tell(settings, find_product(settings, product))


@app.command()
def land(
    product: Product, files: Annotated[list[Path], typer.Argument(help="Files to deliver; their names say the batch.")]
) -> None:
    """Copy files to where a product's files land, so that each appears there whole."""
    from assets.home import Home
    from assets.raw.places import deliver

    settings = Settings()
    spec = find_product(settings, product)
    home = Home(settings)
    for file in files:
        readable, changes = as_raw_reads_it(settings, spec, file)
        note = f" ({'; '.join(changes)})" if changes else ""
        out.print(f"landed {deliver(home, spec, readable)}{note}", markup=False, soft_wrap=True)


@app.command()
def run(
    product: Product,
    as_of: Annotated[str, typer.Option("--as-of", metavar="KEY", help="Train, test and decide as of this batch.")] = "",
    select: Annotated[
        str,
        typer.Option(
            metavar="STRATEGY[:N]",
            help="Features the models see: all, importance:20, mutual_information:20, names:a,b.",
        ),
    ] = "",
) -> None:
    """Load what has landed, then take the newest batch all the way: score, train, judge, decide, serve, watch."""
    from orchestration.cli.runs import Runner
    from orchestration.cli.summary import print_summary

    settings = Settings()
    runner = Runner(settings, find_product(settings, product))
    batches, loaded = runner.load_landed(require_batches(runner, as_of), as_of=as_of, cause="command")
    chosen = as_of or batches[-1]
    for name, why in runner.passed_over:
        out.print(f"passed over {name}: {why}", markup=False, soft_wrap=True)
    went = runner.go_all_the_way(chosen, cause="command", select=parse_selection(select) if select else None)
    if not loaded and not went:
        out.print(f"Nothing to do: {chosen} went all the way before.\n")
    print_summary(runner.home, runner.spec)


@app.command()
def backtest(
    product: Product,
    first: Annotated[str, typer.Option("--from", metavar="KEY", help="First batch to test on.")] = "",
    last: Annotated[str, typer.Option("--to", metavar="KEY", help="Last batch to test on.")] = "",
    as_json: Json = False,
) -> None:
    """Train as of each batch, oldest first, and test each model on data after its training: a table and a plot."""
    from orchestration.cli.backtest import run_backtest, show_backtest
    from orchestration.cli.runs import Runner

    settings = Settings()
    runner = Runner(settings, find_product(settings, product))
    batches = require_batches(runner, first, last)
    refused = run_backtest(runner, batches, first or batches[0], last or batches[-1])
    rows = show_backtest(runner.home, runner.spec, quiet=as_json)
    if as_json:
        _print_json(rows)
    if len(refused) == len(batches):
        sys.exit(1)


@app.command()
def split(
    product: Product,
    as_of: Annotated[str, typer.Option("--as-of", metavar="KEY", help="No later batch is looked at.")] = "",
    strategy: Annotated[str, typer.Option(help="Instead of the spec's.")] = "",
    ratios: Annotated[str, typer.Option(metavar="A,B,C", help="Shares of training, validation and test rows.")] = "",
    group: Annotated[str, typer.Option(metavar="COLUMN", help="For strategy group.")] = "",
    seed: Annotated[int | None, typer.Option(help="Instead of the spec's.")] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write each part there as Parquet, labels in files apart.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Split the rows of a product: sizes, outcomes and warnings of each part; nothing is recorded."""
    from orchestration.cli.split import run_split, show_split

    settings = Settings()
    manifest = run_split(
        settings, find_product(settings, product), as_of, strategy, ratios=ratios, group=group, seed=seed, export=export
    )
    _print_json(manifest.model_dump(mode="json") | {"split_id": manifest.split_id}) if as_json else show_split(manifest)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The product to make: small letters, digits and _.")],
    files: Annotated[list[Path], typer.Option("--from", help="A delivered file, or several.", metavar="FILE...")],
    more: Annotated[list[Path] | None, typer.Argument(hidden=True)] = None,  # the further files after --from
    target: Annotated[str, typer.Option(metavar="COL", help="Column to predict.")] = "",
    task: Annotated[str, typer.Option(help="auto, binary, multiclass, regression, forecast or clustering.")] = "auto",
    time: Annotated[str, typer.Option(metavar="COL", help="Column with the time of a row.")] = "",
    key: Annotated[
        list[str] | None, typer.Option(metavar="COL", help="Column that names a row; may be several.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: take what was concluded.")] = False,
) -> None:
    """Make a product of files: profile them, conclude what they are, write its spec and its dbt models."""
    from orchestration.cli.new import new as make

    make(Settings(), name, [*files, *(more or [])], target=target, task=task, time=time, key=key or [], yes=yes)


@app.command()
def status(
    product: Annotated[str, typer.Argument(help="A product; all of them when left out.")] = "", as_json: Json = False
) -> None:
    """Batches, champion, gates, alerts and what is live."""
    from assets.home import Home
    from orchestration.cli.summary import print_summary
    from orchestration.status import product_status

    settings = Settings()
    specs = [find_product(settings, product)] if product else list(load_specs(settings.products).values())
    home = Home(settings)
    if not as_json:
        for spec in specs:
            print_summary(home, spec)
        return
    found = [product_status(home, spec) for spec in specs]
    _print_json(found[0] if product else found)


@app.command()
def history(product: Product, as_json: Json = False) -> None:
    """Which model was live when and why, and every decision."""
    from assets.home import Home
    from orchestration.cli.summary import print_decisions, print_periods
    from orchestration.status import live_periods, product_history

    settings = Settings()
    spec = find_product(settings, product)
    home = Home(settings)
    periods, rows = live_periods(home, spec), product_history(home, spec)
    if as_json:
        _print_json({"live": periods, "decisions": rows})
        return
    print_periods(f"What was live of {product}, times in UTC", periods)
    print_decisions("Decisions", [(f"{row['at'][:16].replace('T', ' ')}  {row['as_of']}", row) for row in rows])


@app.command()
def models(product: Product, as_json: Json = False) -> None:
    """Every model that was trained, with its tag: live, former champion, loser, withdrawn."""
    from assets.home import Home
    from assets.promotion.keep import tagged_models

    settings = Settings()
    rows = tagged_models(Home(settings), find_product(settings, product))
    if as_json:
        _print_json(rows)
        return
    heads = ("model", "tag", "as_of", "files")
    shown = [
        tuple("deleted" if row[name] is False else "kept" if row[name] is True else row[name] for name in heads)
        for row in rows
    ]
    table(f"Models of {product}", heads, shown)


@app.command()
def promote(product: Product, model: Model, reason: Reason) -> None:
    """Promote a model above the gates, by your word and with a reason; its bento must boot and answer all the same."""
    from orchestration.cli.overrides import promote as by_word

    settings = Settings()
    by_word(settings, find_product(settings, product), model, reason)


@app.command()
def block(product: Product, model: Model, reason: Reason) -> None:
    """Take a model away for good; if it is live, what was live before goes live again."""
    from orchestration.cli.overrides import block as by_word

    settings = Settings()
    by_word(settings, find_product(settings, product), model, reason)


@app.command()
def rollback(
    product: Product,
    to: Annotated[str, typer.Option(metavar="MODEL", help="A model that was live; the one before when left out.")] = "",
    reason: Annotated[str, typer.Option(help="Why; it stands in the history.")] = "",
) -> None:
    """Serve again what was live before, at once and to the byte; nothing is built."""
    from orchestration.cli.overrides import rollback as roll_back

    settings = Settings()
    roll_back(settings, find_product(settings, product), to, reason)


@app.command()
def accept(
    product: Product,
    batch: Annotated[str, typer.Argument(help="A batch that data validation holds back.")],
    reason: Reason,
) -> None:
    """Use a batch as it is that data validation holds back."""
    from orchestration.cli.overrides import accept as by_word

    settings = Settings()
    by_word(settings, find_product(settings, product), batch, reason)


@app.command()
def quarantine(
    product: Product,
    batch: Annotated[str, typer.Option(metavar="KEY", help="The rows of this batch, one by one.")] = "",
    rows: Annotated[int, typer.Option(min=1, help="At most so many of them.")] = 20,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all rows and refused files there: .csv or .parquet.")
    ] = None,
    as_json: Json = False,
) -> None:
    """What arrived and is not loaded: rows and files, each with its reason and what to do."""
    from orchestration.cli.quarantine import show_quarantine

    settings = Settings()
    spec = find_product(settings, product)
    show_quarantine(settings, spec, batch=batch, rows=rows, export=export, as_json=as_json)


@app.command()
def replay_quarantine(
    product: Product,
    batch: Annotated[str, typer.Option(metavar="KEY", help="Only this batch.")] = "",
    as_json: Json = False,
) -> None:
    """Read what is in quarantine again with today's spec and load what passes, exactly once."""
    from orchestration.cli.quarantine import replay_quarantine as read_again

    settings = Settings()
    read_again(settings, find_product(settings, product), batch=batch, as_json=as_json)


@app.command()
def maintain(
    product: Product,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    as_json: Json = False,
) -> None:
    """Merge small files, let go of snapshots that nothing names, delete files that nothing refers to."""
    from orchestration.cli.maintain import maintain_lake

    settings = Settings()
    maintain_lake(settings, find_product(settings, product), dry_run=dry_run, as_json=as_json)


@app.command()
def forget_source(product: Product) -> None:
    """Drop the replication slot and publication of a product that reads PostgreSQL; what is loaded stays."""
    from orchestration.cli.postgres import forget_source as forget

    settings = Settings()
    forget(settings, find_product(settings, product))


@app.command()
def replay(
    model: Annotated[str, typer.Argument(help="A model's id or its start; or a product, for its live model.")],
    product: Annotated[str, typer.Option(help="Whose model; may be left out.")] = "",
    search: Annotated[bool, typer.Option("--search", help="Search parameters again instead of taking them.")] = False,
    as_json: Json = False,
) -> None:
    """Train a model again from its recorded data, code, requirements and seed, and compare the hashes."""
    from orchestration.cli.replay import replay as train_again

    if not train_again(Settings(), model, product=product, search=search, as_json=as_json):
        sys.exit(1)


@app.command()
def diff(first: Model, second: Model, as_json: Json = False) -> None:
    """What differs between two models: data, features, parameters, metrics, code."""
    from orchestration.cli.diff import diff as compare

    compare(Settings(), first, second, as_json=as_json)


@app.command()
def card(product: Product, model: Annotated[str, typer.Argument(help="The live one when left out.")] = "") -> None:
    """Write the model card of a model, as HTML and Markdown, and say where it is."""
    from assets.candidates.lookup import find_model
    from assets.card.card import write_card
    from assets.home import Home

    settings = Settings()
    spec = find_product(settings, product)
    found = find_model(settings, model or product, product=product)
    for path in write_card(Home(settings), spec, found.model_id):
        out.print(str(path), markup=False, soft_wrap=True)


@app.command("score-card")
def score_card(product: Product, as_json: Json = False) -> None:
    """Google's ML Test Score of a product, from the platform's own checks: 28 tests, the weakest section counts."""
    from orchestration.cli.score_card import score_card as show

    settings = Settings()
    show(settings, find_product(settings, product), as_json=as_json)


@app.command()
def serve(product: Product, port: Annotated[int, typer.Option(help="Port on the loopback interface.")] = 3300) -> None:
    """Serve what is live over HTTP on the loopback interface; a promotion or a rollback is followed at once."""
    from orchestration.cli.serve import serve as serve_live

    settings = Settings()
    sys.exit(serve_live(settings, find_product(settings, product), port))


@app.command()
def ui(port: Annotated[int, typer.Option(help="Port of the Dagster UI; 0 is the settings' one.")] = 0) -> None:
    """Open Dagster on this home: assets, checks, runs, sensors; and serve the HTML reports beside it."""
    from orchestration.cli.ui import serve_ui

    settings = Settings()
    sys.exit(serve_ui(settings, port or settings.ui_port))


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="A statement; read from standard input when left out.")] = "",
    product: Annotated[str, typer.Option(help="Whose lake; may be left out when there is one product.")] = "",
    as_json: Json = False,
) -> None:
    """Ask the lake, read-only: schemas raw, cleaned, features, predictions, monitoring, ledger."""
    from orchestration.cli.sql import ask

    settings = Settings()
    specs = load_specs(settings.products)
    name = product or (next(iter(specs)) if len(specs) == 1 else "")
    if not name:
        raise HeadraceError("which product's lake?", expected=", ".join(specs), fix="add --product NAME")
    columns, rows = ask(settings, find_product(settings, name), query or sys.stdin.read())
    if as_json:
        _print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        table(f"{len(rows)} rows", columns, rows)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check environment, versions, home and lakes; exit code 1 when something is wrong."""
    from orchestration.cli.doctor import examine

    findings = examine(Settings())
    if as_json:
        _print_json(findings)
    else:
        marks = {True: "ok", False: "WRONG"}
        table(
            "Doctor",
            ("check", "", "found", "fix"),
            [(f["check"], marks[f["ok"]], f["found"], f["fix"]) for f in findings],
        )
    if not all(finding["ok"] for finding in findings):
        sys.exit(1)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))


if __name__ == "__main__":
    main()
