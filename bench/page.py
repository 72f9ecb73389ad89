# SPDX-License-Identifier: Apache-2.0
"""The results of bench/run as one HTML file with bar plots: no script, no other file, readable on a phone."""
import html
import math

import results

STYLE = """
:root{color-scheme:light dark;--ink:#1c2127;--soft:#5b6570;--paper:#fff;--card:#f4f6f8;--line:#d5dae0;
--umbra:#2563c9;--tcg:#d07a1f;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#a2abb5;--paper:#14171a;--card:#1e2328;--line:#3a424a;
--umbra:#6ba1f5;--tcg:#e59a4a;--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:1rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1.25rem 0 .25rem}
p,li{color:var(--soft)}p{margin:.3rem 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.6rem;margin:1rem 0}
.tile{background:var(--card);border-radius:.5rem;padding:.6rem .8rem}
.tile b{display:block;font-size:1.5rem;font-variant-numeric:tabular-nums}.tile span{color:var(--soft);font-size:.85rem}
.key{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;color:var(--soft);font-size:.85rem}
.key i{display:inline-block;width:.8rem;height:.8rem;border-radius:2px;margin-right:.4rem;vertical-align:-1px}
.plot{position:relative}
.row{display:grid;grid-template-columns:7.4rem 1fr 4rem;gap:.5rem;align-items:center;padding:.2rem 0}
.row>span{font-size:.85rem;overflow-wrap:anywhere}
.track{position:relative;height:1.65rem}
.track u{position:absolute;top:-.2rem;bottom:-.2rem;width:1px;background:var(--line)}
.track u.one{width:2px;background:var(--soft)}
.track i{position:absolute;height:.7rem;border-radius:2px}
.track s{position:absolute;height:2px;background:var(--ink);opacity:.55}
.umbra{background:var(--umbra)}.tcg{background:var(--tcg)}
i.umbra,s.umbra{top:.08rem}i.tcg,s.tcg{top:.86rem}
.track s.umbra{top:.37rem;background:var(--ink)}.track s.tcg{top:1.15rem;background:var(--ink)}
.key i.umbra,.key i.tcg{position:static}
.value{font-variant-numeric:tabular-nums;text-align:right;line-height:.82rem;font-size:.78rem;white-space:pre}
.value.slow{color:var(--bad);font-weight:600}
.axis .track{height:1.1rem}.axis em{position:absolute;transform:translateX(-50%);font:normal .75rem system-ui,sans-serif;
color:var(--soft)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:.2rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child,th:nth-child(2),td:nth-child(2){text-align:left}
td.slow{color:var(--bad);font-weight:600}
"""

TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
LABELLED = [0.1, 1, 10, 100, 1000]


def text(value):
    return html.escape(str(value))


def factor(value):
    """Three digits that mean something."""
    if not value:
        return "–"
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"


class Axis:
    """Ratios on a logarithmic scale; bars begin at 1."""

    def __init__(self, values):
        low, high = min([0.8, *values]), max([2.5, *values])
        self.low, self.high = math.log(low / 1.06), math.log(high * 1.06)

    def at(self, value):
        return 100 * (math.log(value) - self.low) / (self.high - self.low)

    def ticks(self):
        return [tick for tick in TICKS if self.low <= math.log(tick) <= self.high]

    def grid(self):
        return "".join(f'<u{" class=one" if tick == 1 else ""} style="left:{self.at(tick):.2f}%"></u>'
                       for tick in self.ticks())

    def labels(self):
        few = len(self.ticks()) > 8
        return ('<div class="row axis"><span></span><div class=track>' +
                "".join(f'<em style="left:{self.at(tick):.2f}%">{tick:g}</em>' for tick in self.ticks()
                        if not few or tick in LABELLED) + "</div><span></span></div>")

    def bar(self, peer, value):
        left, right = sorted((self.at(1), self.at(value)))
        return f'<i class={peer} style="left:{left:.2f}%;width:{max(right - left, 0.4):.2f}%"></i>'

    def span(self, peer, low, high):
        low, high = max(self.low, math.log(low)), min(self.high, math.log(high))
        left, right = self.at(math.exp(low)), self.at(math.exp(high))
        return f'<s class={peer} style="left:{left:.2f}%;width:{right - left:.2f}%"></s>' if right > left else ""


def plotted(tree):
    """Who gets bars, and what they are relative to: native, or TCG where native did not run."""
    ran = {peer for row in tree["rows"] for peer in row["results"]}
    base = next((peer for peer in ("native", "tcg") if peer in ran), None)
    return [peer for peer in ("umbra", "tcg") if base and peer in ran and peer != base], base


def plot(lines, axis, names):
    """lines: [(label, {peer: ratio or None}, {peer: (lowest, highest)}, {peer: mark})]."""
    out = []
    for label, values, spans, marks in lines:
        bars = "".join(axis.bar(peer, values[peer]) for peer in names if values.get(peer))
        bars += "".join(axis.span(peer, *spans[peer]) for peer in names if peer in spans)
        said = "\n".join(factor(values[peer]) if values.get(peer) else marks.get(peer, "–") for peer in names)
        slow = " slow" if values.get("umbra") and values.get("tcg") and values["umbra"] > values["tcg"] else ""
        out.append(f"<div class=row><span>{text(label)}</span><div class=track>{axis.grid()}{bars}</div>"
                   f"<span class='value{slow}'>{text(said)}</span></div>")
    return "<div class=plot>" + "".join(out) + axis.labels() + "</div>"


def row_lines(tree, names, base):
    """{group: lines of plot} of all rows but the boot."""
    groups = {}
    for row in tree["rows"]:
        if row["group"] not in results.GROUPS:
            continue
        line = results.medians(row, tree["by"])
        values = {peer: results.ratio(line, peer, base) for peer in names}
        spans = {}
        for peer in names:
            seen = results.times(row["results"].get(peer, []), tree["by"])
            if values[peer] and len(seen) > 1 and min(seen) > 0:
                spans[peer] = (min(seen) / line[base], max(seen) / line[base])
        marks = {peer: value for peer, value in line.items() if isinstance(value, str)}
        groups.setdefault(row["group"], []).append((row["name"], values, spans, marks))
    return groups


def tile(value, label):
    return f"<div class=tile><b>{text(value)}</b><span>{text(label)}</span></div>"


def tiles(tree, means):
    out = []
    for pair, label in zip(results.RATIOS, ("Umbra, slower than native", "TCG, slower than native", "Umbra’s time by TCG’s")):
        mean = means.get("all", {}).get(pair)
        if mean:
            out.append(tile(factor(mean[0]) + " ×", f"{label} (geometric mean of {mean[1]} rows)"))
    slower = results.slower_rows(tree)
    if slower is not None:
        out.append(tile(f"{len(slower)} of {len(tree['rows'])}", "rows slower than TCG, the boot among them"))
    boot = next((results.medians(row, tree["by"]) for row in tree["rows"] if row["name"] == results.BOOT), {})
    for peer, value in boot.items():
        if isinstance(value, float):
            out.append(tile(f"{value / 1e3:.2f} s", f"boot to the first line of /init, {results.TITLES[peer]}"))
    return "<div class=tiles>" + "".join(out) + "</div>"


def full_table(tree):
    def cell(value):
        return f"<td>{value:.1f}</td>" if isinstance(value, float) else f"<td>{text(value or '–')}</td>"

    heads = ["row", "group", *results.TITLES.values(),
             *(f"{results.TITLES[a]}/{results.TITLES[b]}" for a, b in results.RATIOS)]
    out = ["<div class=scroll><table><tr>", *(f"<th>{text(head)}</th>" for head in heads), "</tr>"]
    for row in tree["rows"]:
        line = results.medians(row, tree["by"])
        out.append(f"<tr><td>{text(row['name'])}</td><td>{text(row['group'])}</td>")
        out += [cell(line.get(peer)) for peer in results.TITLES]
        for pair in results.RATIOS:
            slow = pair == ("umbra", "tcg") and results.is_slower(line)
            out.append(f"<td{' class=slow' if slow else ''}>{factor(results.ratio(line, *pair))}</td>")
        out.append("</tr>")
    return "".join(out) + "</table></div>"


def plots(tree, means):
    names, base = plotted(tree)
    groups = row_lines(tree, names, base) if names else {}
    by_group = [(f"{group} ({max(n for _, n in pairs.values())})",
                 {peer: pairs.get((peer, base), (None,))[0] for peer in names}, {}, {})
                for group, pairs in means.items() if any((peer, base) in pairs for peer in names)]
    everything = [value for lines in [by_group, *groups.values()] for _, values, _, _ in lines
                  for value in values.values() if value]
    if not everything:
        return ""
    axis = Axis(everything)
    key = "".join(f"<span><i class={peer}></i>{results.TITLES[peer]}</span>" for peer in names)
    key = (f"<div class=key>{key}<span>time by that of {results.TITLES[base]}, which is 1; logarithmic; "
           "shorter is better</span></div>")
    out = [f"<h2>Geometric means by group (rows)</h2>{key}", plot(by_group, axis, names),
           f"<h2>Every row</h2>{key}<p>Thin lines: from the fastest round to the slowest. "
           "Numbers in red: slower than TCG.</p>"]
    out += [f"<h3>{text(group)}</h3>" + plot(groups[group], axis, names) for group in results.GROUPS if group in groups]
    return "".join(out)


def page(tree):
    """The whole page as text."""
    means = results.geometric_means(tree)
    facts = "".join(f"<p>{text(name)}: {text(value)}</p>" for name, value in tree["facts"].items())
    said = results.notes(tree) + [f"{row}: checksums differ: {sums}" for row, sums in results.differing(tree).items()]
    return (f"<!doctype html><html lang=en><head><meta charset=utf-8>"
            f"<meta name=viewport content='width=device-width,initial-scale=1'><title>Umbra: benchmark</title>"
            f"<style>{STYLE}</style></head><body><h1>Programs natively, under QEMU’s TCG and under Umbra</h1>"
            f"<p>{text(tree['date'])}: {text(results.heading(tree))}</p>{facts}{tiles(tree, means)}{plots(tree, means)}"
            f"<h2>Medians in milliseconds ({'time on the clock' if tree['by'] == 'clock' else 'processor time'})</h2>"
            f"{full_table(tree)}" + (f"<ul>{''.join(f'<li>{text(one)}</li>' for one in said)}</ul>" if said else "") +
            "<p>The same program runs everywhere, its rows in turn; the host’s clock is read, never the guest’s. "
            "docs/performance.md says what the rows are.</p></body></html>\n")
