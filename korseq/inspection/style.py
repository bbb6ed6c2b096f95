"""What every page of a look inside has in common."""

TEMPLATE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}</style></head>
<body><main>
<h1>A look inside</h1>
<dl>{facts}</dl>
{choices}
{notes}
<p class="text" lang="ko">{text}</p>
<div class="table"><table>
<thead><tr><th></th><th>characters</th><th>token</th>{head}</tr></thead>
<tbody>
{rows}
</tbody></table></div>
{maps}
</main></body></html>
"""

# Colours are given as "red green blue", to be made transparent.
STYLE = """:root {
  color-scheme: light dark;
  --paper: #fbfaf8; --card: #fff; --ink: #1d1d1f; --faint: #6b6b70; --line: #e4e1dc;
  --saliency: 222 120 20; --attention: 200 30 30; --gradient: 40 96 220;
}
@media (prefers-color-scheme: dark) {
  :root { --paper: #141416; --card: #1d1d20; --ink: #ececee; --faint: #9a9aa2; --line: #333338;
    --saliency: 255 160 60; --attention: 240 80 80; --gradient: 96 150 255; }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 "Noto Sans KR", "Noto Sans CJK KR", "Apple SD Gothic Neo", "Malgun Gothic", NanumGothic, system-ui, sans-serif }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 4rem }
h1 { font-size: 1.5rem; margin: 0 0 1rem; letter-spacing: -.01em }
h2 { font-size: 1.1rem; margin: 2.5rem 0 .25rem }
h2 + p, .note { color: var(--faint); font-size: .875rem; margin: .25rem 0 1rem }
dl { display: flex; flex-wrap: wrap; gap: .75rem 2.5rem; margin: 0 0 1.75rem }
dt { color: var(--faint); font-size: .75rem; letter-spacing: .04em; text-transform: uppercase }
dd { margin: 0; font-weight: 600; overflow-wrap: anywhere }
input { position: absolute; opacity: 0 }
label { display: inline-block; margin: 0 .4rem .5rem 0; padding: .25rem .8rem; cursor: pointer; font-size: .875rem;
  border: 1px solid var(--line); border-radius: 99px; background: var(--card) }
label::before { content: ""; display: inline-block; width: .6em; height: .6em; margin-right: .5em; border-radius: 50%;
  background: rgb(var(--hue)) }
input:checked + label { border-color: rgb(var(--hue)); box-shadow: inset 0 0 0 1px rgb(var(--hue)) }
input:focus-visible + label { outline: 2px solid rgb(var(--hue)); outline-offset: 2px }
.note { display: none }
.text { margin: 0 0 1.75rem; padding: 1.25rem 1.5rem; font-size: 1.375rem; line-height: 2.1; white-space: pre-wrap;
  background: var(--card); border: 1px solid var(--line); border-radius: 12px; overflow-x: auto }
.word { display: inline-block; max-width: 100%; white-space: pre-wrap; text-indent: 0 }
.piece, .none { position: relative; isolation: isolate; display: inline-block; line-height: 1.45; margin: 0 1px }
.piece i, .none i { position: absolute; z-index: -1; top: 0; bottom: 0; border-radius: 4px;
  background: rgb(var(--hue) / calc(.02 + .58 * var(--level))) }
.piece { border-bottom: 1px solid var(--line) }
.none { font-size: .6em; color: var(--faint); padding: 0 .35em; border: 1px dashed var(--line); border-radius: 4px;
  vertical-align: .25em }
.rest { color: var(--faint); opacity: .6 }
.table, .map { overflow: auto; background: var(--card); border: 1px solid var(--line); border-radius: 12px }
.map { max-height: 85vh; padding: .75rem }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums }
.table table { width: 100% }
.table th, .table td { padding: .2rem .6rem; text-align: left; white-space: nowrap }
.table thead th { padding: .6rem; color: var(--faint); font-weight: 500; border-bottom: 1px solid var(--line) }
.table tbody tr:hover { background: rgb(128 128 128 / .1) }
.table thead th[class] { white-space: normal }
.table tbody tr:last-child > * { padding-bottom: .6rem }
.table tbody th { font-weight: 600 }
small { color: var(--faint); font-weight: 400 }
.place { color: var(--faint) }
.table td[class^="c"] { opacity: .55; min-width: 9rem }
.table b { display: inline-block; vertical-align: middle; height: .7em; margin-right: .5em; border-radius: 2px; min-width: 1px;
  width: calc(4.5rem * var(--level)); background: rgb(var(--hue)) }
.map td { min-width: 1.5em; height: 1.5em; padding: 0; border: 1px solid var(--line);
  background: rgb(var(--attention) / calc(.9 * var(--level))) }
.map th { font-weight: 400; padding: 2px 6px; text-align: right; white-space: nowrap }
.map tr:first-child th { writing-mode: vertical-rl; text-align: left; padding: 6px 2px }
"""
