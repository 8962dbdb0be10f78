"""The one error type that is meant for the person who can fix it: it is shown without a stack trace."""


class HeadraceError(Exception):
    """A mistake a user can mend. The message says product, place, what was expected, what was found, what to do."""

    def __init__(
        self, what: str, *, product: str = "", where: str = "", expected: str = "", found: str = "", fix: str = ""
    ) -> None:
        self.what = what
        self.product = product
        self.where = where
        self.expected = expected
        self.found = found
        self.fix = fix
        super().__init__(self._text())

    def _text(self) -> str:
        head = ": ".join(part for part in (self.product, self.where, self.what) if part)
        parts = [
            f"{name}: {value}"
            for name, value in (("expected", self.expected), ("found", self.found), ("fix", self.fix))
            if value
        ]
        return "\n  ".join([head, *parts])

    @property
    def one_line(self) -> str:
        """The same on one line, for ledgers and tables."""
        return str(self).replace("\n  ", "; ")
