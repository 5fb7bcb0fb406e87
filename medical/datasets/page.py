"""How pages about datasets look: one HTML file each, its style, pictures and words inside."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

STYLE = """
:root{--ink:#1c2430;--soft:#5a6675;--line:#dfe4ea;--paper:#fff;--ground:#f4f6f8;
--good:#1a7f4b;--warn:#9a6700;--bad:#b42318;--blue:#1f5fa8}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:68rem;margin:0 auto;padding:1.6rem 1.2rem 4rem}
h1{font-size:1.75rem;line-height:1.2;margin:.2rem 0 .3rem;letter-spacing:-.01em}
h2{font-size:1.15rem;margin:0 0 .7rem}
h3{font-size:.95rem;margin:1.1rem 0 .4rem}
p{margin:.4rem 0 .8rem;max-width:46rem}
a{color:var(--blue)}
section{background:var(--paper);border:1px solid var(--line);border-radius:10px;
padding:1.2rem 1.4rem;margin:1.1rem 0}
.lead{color:var(--soft);font-size:1.02rem;max-width:50rem}
pre{white-space:pre-wrap}
.note{color:var(--soft);font-size:.86rem}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.88rem;margin:.8rem 0 0}
.chip{display:inline-block;border-radius:99px;padding:.08rem .65rem;font-size:.8rem;
font-weight:600;border:1px solid currentColor;white-space:nowrap}
.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}.plain{color:var(--soft)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums;margin:.3rem 0}
th{color:var(--soft);font-weight:600;text-align:left;border-bottom:2px solid var(--line)}
td,th{padding:.32rem .9rem .32rem 0;vertical-align:top}
td{border-bottom:1px solid var(--line)}
td.n,th.n{text-align:right}
ul{margin:.3rem 0 .8rem;padding-left:1.15rem;max-width:48rem}
li{margin:.2rem 0}
.card{display:grid;grid-template-columns:9.5rem 6.6rem 1fr;gap:.15rem 1rem;padding:.62rem 0;
border-bottom:1px solid var(--line);align-items:baseline}
.card:last-child{border-bottom:0}
.card b{font-size:1rem}
.card small{color:var(--soft);display:block;font-weight:400}
figure{margin:.4rem 0 1rem}
figcaption{color:var(--soft);font-size:.84rem;margin-top:.3rem}
img{max-width:100%;height:auto;border-radius:6px;background:#000;display:block}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:1rem}
.pair{position:relative;width:100%;max-width:60rem;background:#000;border-radius:6px;
overflow:hidden;line-height:0}
.pair img{width:100%;border-radius:0}
.pair .over{position:absolute;inset:0;clip-path:inset(0 0 0 var(--at,50%))}
.pair::after{content:"";position:absolute;top:0;bottom:0;left:var(--at,50%);width:2px;
background:#fff;opacity:.85}
.slide{width:100%;max-width:60rem;margin:.5rem 0 0}
.ends{display:flex;justify-content:space-between;max-width:60rem}
@media(max-width:40rem){.card{grid-template-columns:1fr auto}.card div{grid-column:1/-1}}
@media print{body{background:#fff}section{break-inside:avoid;border-color:#bbb}nav{display:none}}
"""
SLIDE = (
    "document.querySelectorAll('.slide').forEach(s=>s.addEventListener('input',()=>"
    "s.previousElementSibling.style.setProperty('--at',s.value+'%')))"
)


def document(title: str, body: str) -> str:
    """A whole page that needs nothing else."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{body}\n</main><script>{SLIDE}</script></body></html>\n"
    )


def section(heading: str, body: str, *, name: str = "") -> str:
    """A part of a page, with an address if it has a name."""
    address = f' id="{escape(name)}"' if name else ""
    return f"<section{address}><h2>{escape(heading)}</h2>\n{body}\n</section>\n"


def chip(kind: str, words: str) -> str:
    """A word that is to be seen at once; ``kind`` is good, warn, bad or plain."""
    return f'<span class="chip {kind}">{escape(words)}</span>'


def paragraph(words: str, kind: str = "") -> str:
    """Plain words."""
    about = f' class="{kind}"' if kind else ""
    return f"<p{about}>{escape(words)}</p>"


def bullets(lines: Sequence[str]) -> str:
    """Plain lines; nothing for none."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table of plain values; columns of numbers stand to the right."""
    right = [
        bool(rows) and all(isinstance(row[k], int | float) for row in rows)
        for k in range(len(head))
    ]
    about = [' class="n"' if one else "" for one in right]
    top = "".join(f"<th{a}>{escape(n)}</th>" for a, n in zip(about, head, strict=True))
    lines = [
        "".join(f"<td{a}>{_cell(value)}</td>" for a, value in zip(about, row, strict=True))
        for row in rows
    ]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return escape(str(value))
