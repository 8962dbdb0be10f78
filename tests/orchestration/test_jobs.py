"""Jobs are named by product and kind."""

import pytest

from assets.spec import ProductSpec
from orchestration.jobs import build, job_name


@pytest.mark.parametrize("kind", ["load", "journey", "train"])
def test_a_job_is_named_by_product_and_kind_and_runs_one_at_a_time(toy: ProductSpec, kind: str) -> None:
    job = build(toy)[kind]
    assert job.name == job_name("toy", kind) == f"toy_{kind}"
    assert job.tags == {"headrace/product": "toy"}
    assert job.description
