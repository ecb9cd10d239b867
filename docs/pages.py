"""The pages of the book: gathers them for mdbook, and checks what it made of them.

`pages.py gather DIR` copies each page that docs/SUMMARY.md names, and each file that a page links to;
`pages.py check DIR` finds links in the finished book that lead nowhere.
"""

import html.parser
import os
import pathlib
import re
import shutil
import sys
import urllib.parse

SUMMARY = pathlib.Path("docs/SUMMARY.md")
LINK = re.compile(r"(\]\()([^)#\s]+)")


def targets(page):
    """The files that a page links to, by their paths in the project."""
    for _, link in LINK.findall(page.read_text()):
        if "://" not in link and not link.startswith("mailto:"):
            yield pathlib.Path(os.path.normpath(page.parent / link))


def gather(to):
    """The folders between stay, but the table of contents must lie above all pages."""
    pages = list(targets(SUMMARY))
    linked = {file for page in pages for file in targets(page)}
    for file in {*pages, *linked}:
        # Of a folder what lies in it, and not what lies below.
        for one in filter(pathlib.Path.is_file, file.iterdir() if file.is_dir() else [file]):
            (to / one).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(one, to / one)
    here = lambda link: os.path.normpath(SUMMARY.parent / link[2])
    (to / "SUMMARY.md").write_text(LINK.sub(lambda link: link[1] + here(link), SUMMARY.read_text()))


class Page(html.parser.HTMLParser):
    """What a page can be led to by, and where it leads."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links = set(), []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id" and value:
                self.anchors.add(value)
            elif (tag, name) in (("a", "href"), ("img", "src")) and value:
                self.links.append(value)


def check(book):
    pages = {path: Page(path) for path in book.rglob("*.html")}
    count, wrong = 0, []
    for path, page in pages.items():
        # Both hold all pages at once, with links of their own.
        if path.name in ("print.html", "toc.html", "404.html"):
            continue
        for link in page.links:
            url = urllib.parse.urlsplit(link)
            if url.scheme or url.netloc:
                continue
            count += 1
            to = pathlib.Path(os.path.normpath(path.parent / urllib.parse.unquote(url.path))) if url.path else path
            anchor = urllib.parse.unquote(url.fragment)
            if not to.exists():
                wrong.append(f"{path.relative_to(book)}: {link}: there is nothing")
            elif anchor and to in pages and anchor not in pages[to].anchors:
                wrong.append(f"{path.relative_to(book)}: {link}: there is no such heading")
    print("\n".join(wrong) or f"{len(pages)} pages, {count} links, all of which lead somewhere")
    return 1 if wrong or count < 100 else 0


if __name__ == "__main__":
    command, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    sys.exit(gather(folder) if command == "gather" else check(folder))
