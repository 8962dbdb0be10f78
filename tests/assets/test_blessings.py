"""Blessings at the door: a missing, stale or negative one means no; a person's word is the only way around."""

import itertools
from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from assets import blessings, ledger
from assets.errors import HeadraceError
from assets.lake import Lake
from assets.records import Batch, Blessing, BlessingKind, Gate, Provenance, SplitManifest
from assets.spec import ProductSpec

NUMBERS = itertools.count()
FAILED = Gate(name="calibration", verdict="FAILED", observed=0.31234567, threshold=0.1)
WARNED = Gate(name="beats_linear", verdict="WARNED", observed=0.0, threshold=0.01)
PASSED = Gate(name="beats_baseline", verdict="PASSED", observed=0.2, threshold=0.05)
BY = Provenance(code_commit="c0ffee", asked_by="ada")
SAID = {"training": "100-train", "quality": "100-test", "infrastructure": "100-test"}
MODEL_KINDS = pytest.mark.parametrize("kind", SAID)


def write(lake: Lake, *written: Blessing) -> None:
    """One transaction after another, so that their order is known."""
    for item in written:
        lake.transact(lambda con, item=item: blessings.write(con, item))


# --- models ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def word(toy: ProductSpec, split: SplitManifest) -> Callable[..., Blessing]:
    """A blessing of a model that no other test has."""
    model_id = f"model-{next(NUMBERS)}"

    def make(kind: BlessingKind = "quality", *gates: Gate, **changes: Any) -> Blessing:
        found = blessings.bless_model(kind, toy, split, model_id, gates or (PASSED,), provenance=BY)
        return found.model_copy(update=changes)

    return make


def ask(
    lake: Lake, toy: ProductSpec, split: SplitManifest, model_id: str, kind: BlessingKind = "quality",
    features: str = "features-1",
) -> Blessing:  # fmt: skip
    with lake.connect() as con:
        return blessings.require_model(
            con, kind, toy, split, model_id, feature_set_id=features, where=f"promotion of {model_id}"
        )


@MODEL_KINDS
def test_exactly_the_right_blessing_opens(
    lake: Lake, toy: ProductSpec, split: SplitManifest, word: Callable[..., Blessing], kind: BlessingKind
) -> None:
    """Of training it names the training rows, of the others the test rows; and by which code and at whose word."""
    given = word(kind, PASSED, WARNED)
    write(lake, given)
    found = ask(lake, toy, split, given.model_id, kind)
    assert found == given
    assert (found.verdict, found.row_set_hash, found.provenance.asked_by) == ("BLESSED", SAID[kind], "ada")


def test_the_same_blessing_is_written_once(lake: Lake, word: Callable[..., Blessing]) -> None:
    given = word()
    write(lake, given, given)
    with lake.connect() as con:
        assert ledger.blessings_of(con, given.model_id) == [given]


@MODEL_KINDS
def test_a_missing_blessing_means_no(
    lake: Lake, toy: ProductSpec, split: SplitManifest, word: Callable[..., Blessing], kind: BlessingKind
) -> None:
    """Those of another model or of another kind don't count."""
    model_id = word().model_id
    write(lake, word(kind, model_id=f"{model_id}-other"), *(word(other) for other in SAID if other != kind))
    with pytest.raises(HeadraceError, match=f"no {kind} blessing for this model") as caught:
        ask(lake, toy, split, model_id, kind)
    assert caught.value.where == f"promotion of {model_id}"
    assert "headrace run toy --as-of 2024-03" in caught.value.fix


@MODEL_KINDS
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"split_id": "another"}, "split"),
        ({"row_set_hash": "99-other"}, "{part} rows"),
        ({"feature_set_id": "features-0"}, "feature set"),
        ({"rules_hash": "another"}, "spec"),
        ({"split_id": "another", "rules_hash": "another"}, "split, spec"),
    ],
)
def test_a_blessing_of_something_else_is_stale_and_says_of_what(
    lake: Lake, toy: ProductSpec, split: SplitManifest, word: Callable[..., Blessing], kind: BlessingKind,
    change: dict[str, Any], said: str,
) -> None:  # fmt: skip
    given = word(kind, **change)
    write(lake, given)
    said = said.format(part="train" if kind == "training" else "test")
    with pytest.raises(HeadraceError, match=f"{kind} blessing is stale \\({said} changed since\\)") as caught:
        ask(lake, toy, split, given.model_id, kind)
    assert "headrace run toy" in caught.value.fix


def test_features_that_changed_since_training_make_a_blessing_stale(
    lake: Lake, toy: ProductSpec, split: SplitManifest, word: Callable[..., Blessing]
) -> None:
    """Split and blessing agree; what is asked for are the features as they are defined right now."""
    given = word()
    write(lake, given)
    with pytest.raises(HeadraceError, match="feature set changed since"):
        ask(lake, toy, split, given.model_id, features="features-2")


def test_a_changed_spec_makes_a_blessing_stale(
    lake: Lake, spec_of: Callable[..., ProductSpec], split: SplitManifest, word: Callable[..., Blessing]
) -> None:
    """Whoever tightens a gate must not be given what passed the old one."""
    given = word()
    write(lake, given)
    with pytest.raises(HeadraceError, match="spec changed since"):
        ask(lake, spec_of({"gates.max_calibration_error": 0.01}), split, given.model_id)


@MODEL_KINDS
def test_a_no_is_refused_with_the_gates_that_said_it(
    lake: Lake, toy: ProductSpec, split: SplitManifest, word: Callable[..., Blessing], kind: BlessingKind
) -> None:
    no = word(kind, PASSED, WARNED, FAILED)
    write(lake, no)
    with pytest.raises(HeadraceError, match=f"the {kind} gates did not bless this model") as caught:
        ask(lake, toy, split, no.model_id, kind)
    assert caught.value.found == "calibration: observed 0.3123, threshold 0.1"


def test_the_newest_word_counts(
    lake: Lake, toy: ProductSpec, split: SplitManifest, word: Callable[..., Blessing]
) -> None:
    no = word("quality", FAILED)
    write(lake, word(), no)
    with pytest.raises(HeadraceError, match="did not bless"):
        ask(lake, toy, split, no.model_id)


def test_rules_that_were_changed_back_bring_their_word_back(
    lake: Lake, toy: ProductSpec, split: SplitManifest, word: Callable[..., Blessing]
) -> None:
    yes = word()
    write(lake, yes, word("quality", FAILED, rules_hash="tightened for a day"))
    assert ask(lake, toy, split, yes.model_id) == yes


# --- data -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def doors(spec_of: Callable[..., ProductSpec]) -> ProductSpec:
    """A product whose batches no other test has."""
    return spec_of({"product": "doors"})


@pytest.fixture
def delivered(lake: Lake) -> Batch:
    """A loaded batch that no other test has."""
    return load(lake, f"batch-{next(NUMBERS):03}", "first")


def load(lake: Lake, batch_id: str, content: str) -> Batch:
    batch = Batch(
        source="doors", batch_id=batch_id, file_name=f"{batch_id}.csv", sha256=content, size_bytes=1, status="LOADED",
        loaded_at=ledger.now(),
    )  # fmt: skip
    lake.transact(lambda con: ledger.append_batch(con, batch))
    return batch


def about(doors: ProductSpec, batch: Batch, *gates: Gate) -> Blessing:
    return blessings.bless_data(doors, batch, gates or (PASSED,), champion_id="", snapshot=3, provenance=BY)


def ask_data(lake: Lake, doors: ProductSpec, batch: Batch) -> Blessing:
    with lake.connect() as con:
        return blessings.require_data(con, doors, batch.batch_id, where="splits")


def held(lake: Lake) -> dict[str, str]:
    with lake.connect() as con:
        return blessings.held_batches(con)


def test_a_batch_that_was_validated_goes_on(lake: Lake, doors: ProductSpec, delivered: Batch) -> None:
    given = about(doors, delivered, PASSED, WARNED)
    write(lake, given)
    assert ask_data(lake, doors, delivered) == given
    assert (given.row_set_hash, given.data_snapshot, given.split_id) == (delivered.content_id, 3, "")
    assert delivered.batch_id not in held(lake)


def test_a_batch_that_was_not_validated_does_not_go_on(lake: Lake, doors: ProductSpec, delivered: Batch) -> None:
    with pytest.raises(HeadraceError, match=f"no data blessing for batch {delivered.batch_id}") as caught:
        ask_data(lake, doors, delivered)
    assert caught.value.where == "splits"
    assert caught.value.fix == f"headrace run doors --as-of {delivered.batch_id}"


def test_another_file_or_other_rules_make_a_data_blessing_stale(
    lake: Lake, doors: ProductSpec, spec_of: Callable[..., ProductSpec], delivered: Batch
) -> None:
    write(lake, about(doors, delivered))
    with pytest.raises(HeadraceError, match="is stale \\(file or rules changed since\\)"):
        ask_data(lake, spec_of({"product": "doors", "validation.statistics.max_psi": 0.1}), delivered)
    assert (
        ask_data(lake, spec_of({"product": "doors", "gates.max_calibration_error": 0.01}), delivered).verdict
        == "BLESSED"
    )
    other = load(lake, f"{delivered.batch_id}-other", "delivered")
    write(lake, about(doors, other.model_copy(update={"sha256": "validated"})))
    with pytest.raises(HeadraceError, match="is stale"):
        ask_data(lake, doors, other)


def test_a_held_batch_is_refused_with_the_gates_that_hold_it(lake: Lake, doors: ProductSpec, delivered: Batch) -> None:
    write(lake, about(doors, delivered), about(doors, delivered, PASSED, FAILED))
    assert held(lake)[delivered.batch_id] == "calibration: observed 0.3123, threshold 0.1"
    with pytest.raises(HeadraceError, match="held back by data validation") as caught:
        ask_data(lake, doors, delivered)
    assert caught.value.found == "calibration: observed 0.3123, threshold 0.1"
    assert f"headrace accept doors {delivered.batch_id}" in caught.value.fix


def test_corrected_data_are_let_go(lake: Lake, doors: ProductSpec, delivered: Batch) -> None:
    """The verdict is per batch and the newest word counts."""
    write(lake, about(doors, delivered, FAILED), about(doors, delivered))
    assert delivered.batch_id not in held(lake)
    assert ask_data(lake, doors, delivered).verdict == "BLESSED"


def test_a_person_may_accept_a_held_batch_with_a_reason(lake: Lake, doors: ProductSpec, delivered: Batch) -> None:
    write(lake, about(doors, delivered, FAILED))
    other = load(lake, f"{delivered.batch_id}-other", "second")
    write(lake, about(doors, other, FAILED))
    given = blessings.accept_batch(lake, doors, delivered.batch_id, reason=" a strike ", asked_by="ada")
    assert (given.reason, given.asked_by, given.action) == ("a strike", "ada", "accept")
    assert delivered.batch_id not in held(lake)
    assert other.batch_id in held(lake)
    assert ask_data(lake, doors, delivered).verdict == "NOT_BLESSED"
    with lake.connect() as con:
        assert blessings.overrides(con, "accept")[delivered.batch_id] == given
        assert delivered.batch_id not in blessings.overrides(con, "block")


@pytest.mark.parametrize(
    ("reason", "gate", "said"),
    [("  ", FAILED, "needs a reason"), ("a strike", PASSED, "isn't held back")],
)
def test_a_word_without_a_reason_or_a_need_is_no_word(
    lake: Lake, doors: ProductSpec, delivered: Batch, reason: str, gate: Gate, said: str
) -> None:
    write(lake, about(doors, delivered, gate))
    with pytest.raises(HeadraceError, match=said):
        blessings.accept_batch(lake, doors, delivered.batch_id, reason=reason, asked_by="ada")
    with lake.connect() as con:
        assert delivered.batch_id not in blessings.overrides(con, "accept")


def test_a_reader_cannot_write_a_blessing(lake: Lake, word: Callable[..., Blessing]) -> None:
    """Doors read; only gates write, in a transaction."""
    with lake.connect() as con, pytest.raises(duckdb.Error):
        blessings.write(con, word())
