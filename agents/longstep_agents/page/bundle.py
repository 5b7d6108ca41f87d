"""The page as one text: what stands in `static/`, put together under a strict content policy.

Modules of JavaScript become one: their `import` lines and the word `export` are left out, and each
stands after those that it imports. So top-level names are unique over all modules.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

STATIC = Path(__file__).parent / "static"
_IMPORT = re.compile(r'^import [^;]* from "\./([^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=function|async|const|class|let)", re.MULTILINE)


def bundle(*, connect: str, static: Path = STATIC) -> tuple[str, str, str]:
    """The page before its script, the script, and what comes after.

    The script does not wait for what comes after it: it needs the index, if any, before it, and
    shards can follow.

    Args:
        connect: From where the page may load data: `'self'` or `'none'`, with the quotes.
        static: Where its sources lie.
    """
    style = (static / "page.css").read_text("utf-8")
    script = "\n".join(_modules(static / "js" / "main.js", set()))
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            f"connect-src {connect}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        )
    )
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{style}</style>'
    page = (static / "page.html").read_text("utf-8").replace("<!--HEAD-->", head)
    before, _, after = page.partition("<!--DATA-->")
    return before, f'<script type="module" async>{script}</script>\n', after


def _modules(path: Path, seen: set[Path]) -> list[str]:
    """A module's text after those of what it imports, each once."""
    seen.add(path)
    source = path.read_text("utf-8")
    texts = []
    for name in _IMPORT.findall(source):
        if path.parent / name not in seen:
            texts += _modules(path.parent / name, seen)
    return [*texts, _EXPORT.sub("", _IMPORT.sub("", source))]


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
