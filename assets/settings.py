"""Settings of an installation: where the home is and where lakes keep their catalog and data.

What belongs to one product is in its spec, not here. Every field can be set by an environment variable with the
prefix ``HEADRACE_`` (``HEADRACE_HOME``, ``HEADRACE_LAKE_CATALOG``, ...).
"""

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

CHECKOUT = Path(__file__).resolve().parent.parent

# Dagster, dbt, Evidently and BentoML each have a switch of their own; all are off unless the user set them.
TELEMETRY_OFF = {"DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "True", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}

# OpenMP threads that wait by spinning lose their turn on a busy machine: LightGBM took 73 s instead of 7.
# One thread of BLAS is enough for a linear model, and it gives the same bits on any number of cores.
PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}


class Settings(BaseSettings):
    """Where things are kept. The defaults need no server: everything is below ``home``."""

    model_config = SettingsConfigDict(env_prefix="HEADRACE_", frozen=True, extra="ignore")

    home: Path = Field(default=CHECKOUT / ".headrace", description="landing, lakes, models, bentos, reports, dagster")
    lake_catalog: str = Field(
        default="sqlite:{home}/lakes/{product}/catalog.sqlite",
        description="DuckLake catalog of a product: sqlite:PATH, or postgres:dbname=... for a shared deployment",
    )
    lake_data: str = Field(
        default="{home}/lakes/{product}/data/", description="where a product's Parquet files are: a folder or s3://..."
    )
    products: Path = Field(
        default=CHECKOUT / "orchestration" / "products", description="the folder of product specs (*.yaml)"
    )
    dbt_project: Path = Field(default=CHECKOUT / "dbt_project", description="the dbt project of all products")
    threads: int = Field(default=2, ge=1, description="threads of DuckDB, LightGBM and onnxruntime")
    lock_timeout_seconds: float = Field(default=600.0, gt=0, description="how long a writer waits for its turn")
    read_memory_megabytes: int = Field(default=2048, ge=256, description="of the process that reads a landed file")
    read_timeout_seconds: float = Field(default=3600.0, gt=0, description="how long it may read one file")
    read_unpacked_gigabytes: float = Field(default=50.0, gt=0, description="how large a packed file may become")
    ui_port: int = Field(default=3000, ge=1, le=65535)
    reports_port: int = Field(default=3001, ge=1, le=65535, description="where `headrace ui` serves the HTML reports")
    notify_webhook: str = Field(default="", description="address that a completed feature batch is posted to, as JSON")
    notify_command: str = Field(default="", description="command that gets it on standard input; run without a shell")
    notify_email: str = Field(default="", description="receiver of an e-mail about it")
    notify_email_from: str = "headrace@localhost"
    notify_smtp_host: str = "localhost"
    notify_smtp_port: int = Field(default=25, ge=1, le=65535)

    def model_post_init(self, _context: object) -> None:
        """Make the home absolute, so that a process started elsewhere means the same folder."""
        object.__setattr__(self, "home", self.home.expanduser().resolve())

    @property
    def landing(self) -> Path:
        """The folder into which files are dropped, one folder per product."""
        return self.home / "landing"

    @property
    def quarantine(self) -> Path:
        """The bytes of deliveries that were refused or have rows in quarantine, one folder per product."""
        return self.home / "quarantine"

    @property
    def models(self) -> Path:
        """The content-addressed model files."""
        return self.home / "models"

    @property
    def bentos(self) -> Path:
        """The BentoML home: `BENTOML_HOME` of every build and serve."""
        return self.home / "bentos"

    @property
    def reports(self) -> Path:
        """HTML reports, served by `headrace ui`."""
        return self.home / "reports"

    @property
    def dagster(self) -> Path:
        """Dagster's instance: `DAGSTER_HOME`."""
        return self.home / "dagster"

    def lake_folder(self, product: str) -> Path:
        """The local folder of a product's lake: catalog, lock, staged files."""
        return self.home / "lakes" / product

    def catalog_of(self, product: str) -> str:
        """The DuckLake catalog string of a product."""
        return self.lake_catalog.format(home=self.home, product=product)

    def data_path_of(self, product: str) -> str:
        """The DuckLake data path of a product, with a closing slash."""
        path = self.lake_data.format(home=self.home, product=product)
        return path if path.endswith("/") else path + "/"

    def environment(self) -> dict[str, str]:
        """What a child process needs to find the same home and lakes, silent on the wire."""
        return {
            **os.environ,
            **{name: os.environ.get(name, value) for name, value in {**TELEMETRY_OFF, **PATIENT_THREADS}.items()},
            "HEADRACE_HOME": str(self.home),
            "HEADRACE_LAKE_CATALOG": self.lake_catalog,
            "HEADRACE_LAKE_DATA": self.lake_data,
            "DAGSTER_HOME": str(self.dagster),
            "BENTOML_HOME": str(self.bentos),
        }


def prepare_process() -> None:
    """Set the switches of libraries that read them when they load, unless the user has: before any is imported."""
    for name, value in {**TELEMETRY_OFF, **PATIENT_THREADS}.items():
        os.environ.setdefault(name, value)
