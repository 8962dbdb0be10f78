"""The resources that stages are given."""

from assets.home import Home
from assets.settings import Settings


def build(settings: Settings) -> dict[str, object]:
    """`home`: where lakes, models, bentos and reports are."""
    return {"home": Home(settings)}
