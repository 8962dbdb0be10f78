"""Blessings: written by gates, read at every door. A missing, stale or negative blessing means no.

Dagster's blocking checks stop the run they are in and nothing else, so each stage asks here before it goes on, however
it was started. A person may accept a held batch or promote a model by a written word (`Override`), never silently.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import duckdb

from assets import ledger
from assets.errors import HeadraceError
from assets.lake import Lake
from assets.records import (
    Batch,
    Blessing,
    BlessingKind,
    Gate,
    Override,
    OverrideAction,
    Provenance,
    SplitManifest,
)
from assets.spec import ProductSpec


def verdict_of(gates: Iterable[Gate]) -> str:
    """`NOT_BLESSED` if any gate failed."""
    return "NOT_BLESSED" if any(gate.verdict == "FAILED" for gate in gates) else "BLESSED"


def bless_data(
    spec: ProductSpec, batch: Batch, gates: Sequence[Gate], *, champion_id: str, snapshot: int, provenance: Provenance
) -> Blessing:
    """The word about one batch; of the rows it names their content: another after a correction or a replay."""
    return Blessing.model_validate(
        {
            "kind": "data",
            "verdict": verdict_of(gates),
            "product": spec.product,
            "as_of": batch.batch_id,
            "model_id": champion_id,
            "row_set_hash": batch.content_id,
            "data_snapshot": snapshot,
            "feature_set_id": "",
            "spec_hash": spec.spec_hash,
            "rules_hash": spec.data_rules_hash,
            "provenance": provenance,
            "gates": tuple(gates),
        }
    )


def bless_model(
    kind: BlessingKind,
    spec: ProductSpec,
    split: SplitManifest,
    model_id: str,
    gates: Sequence[Gate],
    *,
    provenance: Provenance,
) -> Blessing:
    """The word about one model on one split; of training it names the training rows, else the test rows."""
    part = _part(kind)
    return Blessing.model_validate(
        {
            "kind": kind,
            "verdict": verdict_of(gates),
            "product": spec.product,
            "as_of": split.as_of,
            "model_id": model_id,
            "split_id": split.split_id,
            "row_set_hash": split.parts[part].row_set_hash,
            "data_snapshot": split.data_snapshot,
            "feature_set_id": split.feature_set_id,
            "spec_hash": spec.spec_hash,
            "rules_hash": spec.spec_hash,
            "provenance": provenance,
            "gates": tuple(gates),
        }
    )


def write(con: duckdb.DuckDBPyConnection, blessing: Blessing) -> None:
    """Append a blessing once; of data the newest word counts, so a return to an older one is written again."""
    record_id = blessing.blessing_id
    if blessing.kind == "data":
        about = _about(ledger.all_blessings(con), "data", as_of=blessing.as_of)
        if about and about[-1].blessing_id == record_id:
            return
        if any(item.blessing_id == record_id for item in about):
            record_id = f"{record_id}@{ledger.now().isoformat()}"
    ledger.append_once(con, "blessings", record_id, blessing.as_of, blessing)


def data_blessing(con: duckdb.DuckDBPyConnection, spec: ProductSpec, batch_id: str) -> Blessing | None:
    """The newest data blessing of a batch if it is about the rows that are loaded and today's rules, else None."""
    loaded = [item for item in ledger.batches(con, spec.product) if item.batch_id == batch_id]
    hashes = {item.content_id for item in loaded if item.status == "LOADED"}
    about = _about(ledger.all_blessings(con), "data", as_of=batch_id)
    newest = about[-1] if about else None
    is_fresh = newest and newest.rules_hash == spec.data_rules_hash and newest.row_set_hash in hashes
    return newest if is_fresh else None


def held_batches(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Batches that later stages must not see, with the reason.

    The newest word about their data is no, or is about what they held before a correction; and no person has accepted
    them since they were loaded. `held_batches` in dbt_project/macros is the same rule in SQL.
    """
    newest = {item.as_of: item for item in ledger.all_blessings(con) if item.kind == "data"}
    loaded = {item.batch_id: item for name in {item.product for item in newest.values()}
              for item in ledger.batches(con, name) if item.status == "LOADED"}  # fmt: skip
    accepted = overrides(con, "accept")
    held = {}
    for batch_id, item in newest.items():
        batch, word = loaded.get(batch_id), accepted.get(batch_id)
        is_about_it = batch is None or item.row_set_hash == batch.content_id
        if (item.verdict == "BLESSED" and is_about_it) or (word and (batch is None or word.at >= batch.loaded_at)):
            continue
        held[batch_id] = "; ".join(item.reasons) if is_about_it else "corrected since it was judged"
    return held


def overrides(con: duckdb.DuckDBPyConnection, action: OverrideAction) -> dict[str, Override]:
    """The newest word of persons about each subject, where it is this action."""
    newest = {item.subject: item for _, item in ledger.records(con, "overrides", Override)}
    return {subject: item for subject, item in newest.items() if item.action == action}


def accept_batch(lake: Lake, spec: ProductSpec, batch_id: str, *, reason: str, asked_by: str) -> Override:
    """A person's word that a held batch is used as it is; the next run builds it.

    Raises:
        HeadraceError: the batch isn't held, or there is no reason.
    """
    word = override(spec, "accept", batch_id, reason=reason, asked_by=asked_by)

    def record(con: duckdb.DuckDBPyConnection) -> None:
        held = held_batches(con)
        if batch_id not in held:
            raise HeadraceError(
                "this batch isn't held back",
                product=spec.product,
                where=batch_id,
                expected=", ".join(held) or "nothing is held back",
                fix="nothing to do" if not held else "name one of these",
            )
        ledger.append_once(con, "overrides", word.override_id, batch_id, word)

    lake.transact(record)
    return word


def override(spec: ProductSpec, action: OverrideAction, subject: str, *, reason: str, asked_by: str) -> Override:
    """A person's word, which needs a reason.

    Raises:
        HeadraceError: the reason is empty.
    """
    if not reason.strip():
        raise HeadraceError(
            "a decision above the gates needs a reason",
            product=spec.product,
            where=subject,
            fix="add --reason TEXT; it stands in the ledger and on the model card",
        )
    return Override(
        product=spec.product, action=action, subject=subject, reason=reason.strip(), asked_by=asked_by, at=ledger.now()
    )


def require_data(con: duckdb.DuckDBPyConnection, spec: ProductSpec, batch_id: str, *, where: str) -> Blessing:
    """The data blessing of a batch.

    Raises:
        HeadraceError: there is none, it is stale, or it says no and nobody has accepted the batch.
    """
    again = f"headrace run {spec.product} --as-of {batch_id}"
    about = _about(ledger.all_blessings(con), "data", as_of=batch_id)
    if not about:
        raise _refusal(spec, where, f"no data blessing for batch {batch_id}", "one from data validation", "none", again)
    newest = data_blessing(con, spec, batch_id)
    if newest is None:
        raise _refusal(
            spec, where, f"the data blessing of batch {batch_id} is stale (file or rules changed since)",
            f"rules {spec.data_rules_hash[:12]}", f"rules {about[-1].rules_hash[:12]}", again,
        )  # fmt: skip
    if newest.verdict != "BLESSED" and batch_id in held_batches(con):
        raise _refusal(
            spec, where, f"batch {batch_id} is held back by data validation", "BLESSED", "; ".join(newest.reasons),
            "deliver corrected data, change `validation` in the spec, or take it as it is: "
            f"headrace accept {spec.product} {batch_id} --reason ...",
        )  # fmt: skip
    return newest


def require_model(
    con: duckdb.DuckDBPyConnection,
    kind: BlessingKind,
    spec: ProductSpec,
    split: SplitManifest,
    model_id: str,
    *,
    feature_set_id: str,
    where: str,
) -> Blessing:
    """The blessing of exactly this model on exactly this data under exactly this spec.

    Raises:
        HeadraceError: there is none, it is stale, or it says no.
    """
    about = _about(ledger.blessings_of(con, model_id), kind)
    again = f"train and evaluate again: headrace run {spec.product} --as-of {split.as_of}"
    if not about:
        raise _refusal(spec, where, f"no {kind} blessing for this model", f"a blessing of {model_id}", "none", again)
    part = _part(kind)
    wanted = {
        "split": split.split_id,
        f"{part} rows": split.parts[part].row_set_hash,
        "feature set": feature_set_id,
        "spec": spec.spec_hash,
    }
    found = [
        dict(zip(wanted, (item.split_id, item.row_set_hash, item.feature_set_id, item.rules_hash), strict=True))
        for item in about
    ]
    if wanted not in found:
        stale = [name for name, value in wanted.items() if found[-1][name] != value]
        raise _refusal(
            spec, where, f"the {kind} blessing is stale ({', '.join(stale)} changed since)",
            "; ".join(f"{name} {wanted[name][:12]}" for name in stale),
            "; ".join(f"{name} {found[-1][name][:12]}" for name in stale), again,
        )  # fmt: skip
    # a rule that was changed and changed back brings its word back, too: of those that fit the newest counts
    newest = next(item for item, fits in zip(reversed(about), reversed(found), strict=True) if fits == wanted)
    if newest.verdict != "BLESSED":
        raise _refusal(
            spec, where, f"the {kind} gates did not bless this model", "BLESSED", "; ".join(newest.reasons),
            "look at the failed gates; mend data or candidate, or change the gate in the spec",
        )  # fmt: skip
    return newest


def _part(kind: BlessingKind) -> Literal["train", "test"]:
    """Which rows a blessing speaks of."""
    return "train" if kind == "training" else "test"


def _about(found: Iterable[Blessing], kind: BlessingKind, *, as_of: str | None = None) -> list[Blessing]:
    """The blessings of a kind, of a batch if one is named, oldest first."""
    return [item for item in found if item.kind == kind and (as_of is None or item.as_of == as_of)]


def _refusal(spec: ProductSpec, where: str, what: str, expected: str, found: str, fix: str) -> HeadraceError:
    return HeadraceError(f"refused: {what}", product=spec.product, where=where, expected=expected, found=found, fix=fix)
