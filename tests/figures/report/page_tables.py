"""Tables and texts of a page of HTML, as a browser reads them."""

from html.parser import HTMLParser

import pandas as pd


class Tables(HTMLParser):
    """The tables of a page by their captions, and the texts of list items, as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self._caption = ""
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.tables[self._caption].append([])
        if tag in ("caption", "th", "td", "li", "dt", "dd", "p", "figcaption", "code"):
            self._open = tag
            self.texts.append("")
            if tag in ("th", "td"):
                self.tables[self._caption][-1].append("")

    def handle_data(self, data: str) -> None:
        if self.texts:
            self.texts[-1] += data
        if self._open == "caption" and data.strip():
            self._caption = data
            self.tables[data] = []
        elif self._open in ("th", "td"):
            self.tables[self._caption][-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == self._open:
            self._open = ""

    def frame(self, caption: str) -> pd.DataFrame:
        head, *rows = self.tables[caption]
        return pd.DataFrame(rows, columns=head)

    def fact(self, name: str) -> str:
        return self.texts[self.texts.index(name) + 1].strip()
