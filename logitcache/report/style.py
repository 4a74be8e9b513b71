"""The style sheet of a page: colours for light and dark, widths for wide, narrow and paper."""

from __future__ import annotations

from logitcache.report.drawing import BAND, GRID, INK, MUTED, RIVAL

# Every colour of a picture: by light, and by dark. The same hue, as bright as its ground asks for.
_DARK = {
    INK: "#e8eaed", MUTED: "#a9b0b8", GRID: "#33383f", BAND: "#3b424b", RIVAL: "#7f868e",
    "#E69F00": "#f0ad2e", "#56B4E9": "#56b4e9", "#009E73": "#1fb88c", "#0072B2": "#4aa3e0", "#D55E00": "#ee7a2c",
    "#CC79A7": "#d98bb6", "#F0E442": "#e6da3f",
}  # fmt: skip
SHADES = {light.lower(): (f"--c{light[1:].lower()}", dark) for light, dark in _DARK.items()}

_LIGHT_RULES = ";".join(f"{name}:{light}" for light, (name, _) in SHADES.items())
_DARK_RULES = ";".join(f"{name}:{dark}" for name, dark in SHADES.values())

CSS = (
    f":root{{{_LIGHT_RULES};--ground:#fff;--sheet:#f6f7f9;--line:#dfe3e8;--note:#fff4d6;--link:#0b62a3}}"
    f"@media screen and (prefers-color-scheme:dark){{:root{{{_DARK_RULES};"
    "--ground:#14171a;--sheet:#1c2025;--line:#33383f;--note:#3a3117;--link:#7cc0f5}}"
    """
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--c1b1f24);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"DejaVu Sans",sans-serif}
main,footer{max-width:820px;margin:0 auto;padding:0 20px}
h1{font-size:2rem;line-height:1.2;margin:2.5rem 0 .6rem}
h2{font-size:1.45rem;line-height:1.25;margin:3.2rem 0 .4rem;padding-top:1.2rem;border-top:1px solid var(--line)}
h3{font-size:1.05rem;margin:0 0 .2rem}
h2,h3,p,li,dd,code,figcaption{overflow-wrap:anywhere}
a{color:var(--link)}
.headline{font-size:1.2rem;margin:.2rem 0 1rem}
.facts,footer{color:var(--c555555);font-size:.875rem;margin:.2rem 0}
footer{margin:3rem auto 2rem}
.note{background:var(--note);border-radius:6px;padding:.5rem .8rem;margin:.6rem 0;font-size:.95rem}
nav ul{margin:1rem 0 0;padding-left:1.2rem}
code{font:.8125rem/1.5 ui-monospace,"DejaVu Sans Mono",monospace;background:var(--sheet);border-radius:4px;
padding:.1rem .35rem}
figure{margin:2rem 0 2.6rem}
figcaption{margin:0 0 .8rem}
svg{display:block;width:100%;height:auto}
svg *{stroke-linejoin:round;stroke-linecap:butt}
.narrow{display:none}
.scroll{overflow-x:auto;margin-top:.8rem}
table{border-collapse:collapse;font-size:.84rem;font-variant-numeric:tabular-nums;width:100%}
th,td{text-align:right;padding:.28rem .55rem;border-bottom:1px solid var(--line);white-space:nowrap;font-weight:400}
thead th{vertical-align:bottom;color:var(--c555555);white-space:normal}
th:first-child{text-align:left;padding-left:0;position:sticky;left:0;background:var(--ground)}
tbody th{color:var(--c1b1f24)}
details{margin:1rem 0;font-size:.9rem}
summary{cursor:pointer;color:var(--c555555)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.2rem;margin:.6rem 0}
dt{color:var(--c555555)}
dd{margin:0}
@media screen and (max-width:560px){
main,footer{padding:0 14px}
h1{font-size:1.6rem;margin-top:1.4rem}
.headline{font-size:1.05rem}
.wide{display:none}
.narrow{display:block}
}
@media print{
body{font-size:11pt}
main,footer{max-width:none;padding:0}
nav{display:none}
details::details-content{content-visibility:visible;block-size:auto}
figure,table,.note{break-inside:avoid}
h2,h3,figcaption{break-after:avoid}
.scroll{overflow:visible}
table{font-size:8pt}
}
"""
)
