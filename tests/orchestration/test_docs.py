"""The documentation names what there is."""

import re

import pytest
from pydantic import BaseModel

from assets import spec
from assets.settings import CHECKOUT

PARTS = [item for item in vars(spec).values() if isinstance(item, type) and issubclass(item, BaseModel)]


def test_every_field_of_a_spec_is_in_its_page() -> None:
    """docs/product-spec.md has a row for each field of each part."""
    text = (CHECKOUT / "docs" / "product-spec.md").read_text()
    missing = [f"{part.__name__}.{name}" for part in PARTS for name in part.model_fields if f"| `{name}` |" not in text]
    assert missing == []


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in CHECKOUT.glob("docs/*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link of a page is a file of this checkout."""
    path = CHECKOUT / page
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []
