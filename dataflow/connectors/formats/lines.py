"""Where records end that are lines."""

from __future__ import annotations


class Lines:
    """Records end at line feeds."""

    def last_end(self, data: bytes) -> int:
        """Return the end of the last record that ``data`` holds as a whole; 0 if there is none."""
        return data.rfind(b"\n") + 1

    def first_end(self, data: bytes, start: int = 0) -> int:
        """Return the end of the first record that ends beyond ``start``; at most the length."""
        return self.break_end(data, start) or len(data)

    def break_end(self, data: bytes, start: int) -> int:
        """Return the end of the first line break from ``start`` on, quoted or not; 0 if none."""
        return data.find(b"\n", start) + 1

    def closed(self, data: bytes) -> bool:
        """Tell whether a line feed behind ``data`` would end a record."""
        return self.last_end(data + b"\n") > len(data)
