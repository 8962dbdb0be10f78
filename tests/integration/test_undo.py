"""A person above the gates: promote with a reason, roll back in seconds and to the byte, block, and all is written."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from assets.features.read import batch_inputs
from assets.live import read_live
from assets.promotion.keep import tagged_models
from assets.records import LivePointer
from assets.settings import CHECKOUT, Settings
from assets.spec import ProductSpec
from bentos.build import bento_path
from bentos.schemas import json_row
from orchestration.cli.runs import Runner
from orchestration.status import is_complete
from tests.toy.shop import environment, headrace

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def runner(loaded_settings: Callable[[str], Settings], shop: ProductSpec) -> Runner:
    """A first champion by the gates, as of the second batch."""
    runner = Runner(loaded_settings("undo"), shop)
    runner.go_all_the_way("02", cause="test")
    return runner


def live_of(runner: Runner) -> LivePointer:
    found = read_live(runner.settings.home, "shop")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def served(runner: Runner) -> Iterator[Callable[[str], bytes]]:
    """`headrace serve` itself; waits until a model answers and returns what it says of the rows of a batch."""
    lake = runner.home.lake("shop")
    rows = [json_row(row, runner.spec.features.inputs) for row in batch_inputs(lake, runner.spec, "02").to_dicts()]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.cli.main", "serve", "shop", "--port", str(port)],
        cwd=CHECKOUT,
        env=environment(runner.settings),
    )

    def answer_of(model_id: str) -> bytes:
        deadline, found = time.monotonic() + 90, b""
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                response = httpx.post(f"http://127.0.0.1:{port}/predict", json={"rows": rows}, timeout=10)
                found = response.content
                if response.status_code == 200 and response.json()["model_id"] == model_id:
                    return found
            time.sleep(0.2)
        raise AssertionError(f"{model_id} didn't answer: {found[:300]!r}, exit code {process.poll()}")

    yield answer_of
    process.terminate()
    assert process.wait(30) == 0


def test_a_persons_word_goes_live_and_a_rollback_brings_back_the_same_bytes(
    runner: Runner, served: Callable[[str], bytes]
) -> None:
    """Promote a loser, roll back, go forward: each is written with who and why, and a server that runs follows."""
    first = live_of(runner)
    before = served(first.model_id)
    loser = next(item["model"] for item in tagged_models(runner.home, runner.spec) if item["algorithm"] == "baseline")

    silent = headrace(runner.settings, "promote", "shop", loser, "--reason", " ")
    assert (silent.returncode, "needs a reason" in silent.stderr) == (1, True)
    promoted = headrace(runner.settings, "promote", "shop", loser[:-2], "--reason", "we need the base rate today")
    assert promoted.returncode == 0, promoted.stderr
    second = live_of(runner)
    assert (second.model_id, second.as_of) == (loser, "02")
    assert served(loser) != before
    words = json.loads((bento_path(runner.settings, second.bento) / "src/blessings.json").read_bytes())
    assert words["overrides"][0]["reason"] == "we need the base rate today"

    started = time.monotonic()
    back = headrace(runner.settings, "rollback", "shop", "--reason", "it says one number to all")
    seconds = time.monotonic() - started
    assert back.returncode == 0, back.stderr
    assert live_of(runner).bento == first.bento
    assert seconds < 20, "5 s on an idle machine, start of Python included"
    assert served(first.model_id) == before

    # no gate undoes a person's word: what ran before is complete, and what runs again refuses the model
    assert is_complete(runner.home, runner.spec, "02")
    runner.run("train", ["02"], cause="again", title="again")
    assert live_of(runner).bento == first.bento

    forward = headrace(runner.settings, "rollback", "shop", "--to", loser)
    assert forward.returncode == 0, forward.stderr
    assert live_of(runner).bento == second.bento
    again = headrace(runner.settings, "rollback", "shop", "--to", loser)
    assert (again.returncode, "live already" in again.stderr) == (1, True)

    history = json.loads(headrace(runner.settings, "history", "shop", "--json").stdout)
    assert [item["model"] for item in history["live"]] == [first.model_id, loser, first.model_id, loser]
    assert history["live"][-1]["until"] == "now"
    assert history["live"][1]["why"] == "we need the base rate today"
    assert "headrace promote" in history["live"][1]["by"]


def test_a_blocked_model_is_never_served_and_what_was_before_is(runner: Runner) -> None:
    """Blocking what is live rolls back by itself; afterwards neither a rollback nor a gate brings it back."""
    blocked = live_of(runner).model_id
    models = tagged_models(runner.home, runner.spec)
    champion = next(item["model"] for item in models if item["tag"] == "former champion")
    found = headrace(runner.settings, "block", "shop", blocked, "--reason", "its base rate is last year's")
    assert found.returncode == 0, found.stderr
    assert live_of(runner).model_id == champion
    refused = headrace(runner.settings, "rollback", "shop", "--to", blocked)
    assert refused.returncode == 1
    assert "a person blocked this model" in refused.stderr
    assert "last year's" in refused.stderr
    tags = {item["model"]: item["tag"] for item in tagged_models(runner.home, runner.spec)}
    assert (tags[champion], tags[blocked]) == ("live", "withdrawn")
    page = next((runner.settings.reports / "shop").rglob(f"model-card-{blocked}.html")).read_text()
    assert "last year&#x27;s" in page or "last year&#39;s" in page


def test_serving_refuses_a_bento_that_is_not_the_one_that_went_live(runner: Runner) -> None:
    """The door of `headrace serve`: one changed byte in a packed file, and nothing starts."""
    packed = bento_path(runner.settings, live_of(runner).bento) / "src" / "example.json"
    content = packed.read_bytes()
    packed.write_bytes(content.replace(b"{", b"{ ", 1))
    refused = headrace(runner.settings, "serve", "shop", "--port", "1")
    packed.write_bytes(content)
    assert refused.returncode == 1
    assert "not the ones that were saved" in refused.stderr
