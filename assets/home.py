"""The home of an installation, as a resource: settings, and a lake and folders for each product."""

from pathlib import Path

from assets.lake import Lake
from assets.settings import Settings


class Home:
    """What every stage is given to find its files. It holds no connection."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def lake(self, product: str) -> Lake:
        """A product's lake, created at first use."""
        lake = Lake(product, self.settings)
        lake.ensure()
        return lake

    def landing(self, product: str) -> Path:
        """The folder into which a product's files are dropped."""
        folder = self.settings.landing / product
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def models(self, product: str) -> Path:
        """The folder of a product's models."""
        folder = self.settings.models / product
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def report(self, product: str, *parts: str) -> Path:
        """Where an HTML report is written; its folder exists."""
        path = self.settings.reports.joinpath(product, *parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def report_url(self, path: Path) -> str:
        """The address at which `headrace ui` serves a report."""
        return f"http://127.0.0.1:{self.settings.reports_port}/{path.relative_to(self.settings.reports).as_posix()}"
