"""What the demos deliver is what the packages ship, and each file fits its product's contract."""

import polars as pl
import pytest

from assets.errors import HeadraceError
from assets.home import Home
from assets.raw.landing import identify
from assets.settings import CHECKOUT
from assets.spec import load_specs
from orchestration.demos import BRING_YOUR_OWN, DEMOS, find_demo, package_file
from tests.loading import load_file

SPECS = load_specs(CHECKOUT / "orchestration" / "products")
ROWS = {"movies": 58_788, "wines": 178}


@pytest.mark.parametrize("product", ROWS)
def test_a_delivery_has_every_row_and_fits_the_contract(
    product: str, home: Home, tmp_path_factory: pytest.TempPathFactory
) -> None:
    write = DEMOS[product].write
    assert write is not None
    folder = tmp_path_factory.mktemp(product)
    (file,) = write(folder)
    assert identify(SPECS[product], file.name) == (product, file.stem.split("_")[1], "")
    batch = load_file(home.lake(product), product, SPECS[product].source, file, "all")
    assert (batch.rows_in, batch.rows_quarantined) == (ROWS[product], 0)
    written = file.stat().st_mtime_ns
    assert write(folder) == [file]
    assert file.stat().st_mtime_ns == written, "what is there stays as it is"


def test_wines_have_the_values_of_the_package_under_their_names(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The package's first line has counts where names should be; the first wine is in the UCI description."""
    write = DEMOS["wines"].write
    assert write is not None
    first = pl.read_csv(write(tmp_path_factory.mktemp("wines"))[0]).row(0, named=True)
    assert (first["alcohol"], first["malic_acid"], first["proline"], first["cultivar"]) == (14.23, 1.71, 1065, 0)


def test_a_product_whose_data_nobody_ships_says_where_to_get_it_and_what_to_run() -> None:
    for product in BRING_YOUR_OWN:
        with pytest.raises(HeadraceError) as caught:
            find_demo(product)
        assert f"headrace land {product}" in caught.value.fix
        assert f"headrace run {product}" in caught.value.fix
        assert (CHECKOUT / "docs" / "products" / f"{product}.md").exists()


def test_every_shipped_product_has_a_demo_or_says_why_not_and_a_page() -> None:
    shipped = {"flights", "loans", "movies", "power_load", "wines"}
    assert shipped <= set(SPECS)
    assert shipped == {*DEMOS, *BRING_YOUR_OWN}
    assert all((CHECKOUT / "docs" / "products" / f"{product}.md").exists() for product in shipped)


def test_an_unknown_demo_is_answered_with_those_there_are() -> None:
    with pytest.raises(HeadraceError, match="there is no such demo") as caught:
        find_demo("flight")
    assert "flights" in caught.value.expected


def test_a_missing_package_is_said_with_the_way_to_install_it() -> None:
    with pytest.raises(HeadraceError, match="the demo's data is not installed"):
        package_file("no_such_package", "data.csv")
