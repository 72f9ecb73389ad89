# SPDX-License-Identifier: Apache-2.0
"""What bench/run makes of the times that it measured: medians, ratios, geometric means, a table.

The times are a tree as --json writes it: rows: [{name, group, results: {peer: [{clock, cpu, sum} or
{missing: why} or {failed: why}, one for each round]}}].
"""
import math
import statistics

TITLES = {"native": "native", "tcg": "TCG", "umbra": "Umbra"}
GROUPS = ["compute", "floating", "memory", "kernel", "applications", "rewriting"]
RATIOS = [("umbra", "native"), ("tcg", "native"), ("umbra", "tcg")]
BOOT = "boot"


def times(seen, by):
    """Milliseconds of each round; none where one of them did not end well."""
    if any("clock" not in one for one in seen):
        return []
    return [one["clock" if by == "clock" else "cpu"] for one in seen]


def medians(row, by):
    """{peer: median in milliseconds}; a text instead of a number says why there is none."""
    line = {}
    for peer, seen in row["results"].items():
        good = times(seen, by)
        bad = next((one for one in seen if "clock" not in one), {})
        if good:
            line[peer] = statistics.median(good)
        elif bad:
            line[peer] = "timeout" if bad.get("failed") == "timeout" else next(iter(bad))
    return line


def ratio(line, peer, base):
    """How much longer peer takes than base; None where one of them has no time."""
    a, b = line.get(peer), line.get(base)
    return a / b if isinstance(a, float) and isinstance(b, float) and a > 0 and b > 0 else None


def geometric_means(tree):
    """{group: {(peer, base): (mean, number of rows)}}; "all" at the end; boot is in none."""
    means = {}
    for group in [*GROUPS, "all"]:
        lines = [medians(row, tree["by"]) for row in tree["rows"]
                 if row["group"] == group or group == "all" and row["group"] in GROUPS]
        pairs = {}
        for pair in RATIOS:
            known = [r for r in (ratio(line, *pair) for line in lines) if r]
            if known:
                pairs[pair] = (math.exp(sum(map(math.log, known)) / len(known)), len(known))
        if pairs:
            means[group] = pairs
    return means


def is_slower(line):
    """Slower than under TCG, or without an end where TCG has one."""
    if isinstance(line.get("tcg"), float) and line.get("umbra") in ("timeout", "failed"):
        return True
    return (ratio(line, "umbra", "tcg") or 0) > 1


def slower_rows(tree):
    """Names of the rows, boot among them, that are slower than TCG; None where they were not compared."""
    lines = {row["name"]: medians(row, tree["by"]) for row in tree["rows"]}
    if not any("tcg" in line and "umbra" in line for line in lines.values()):
        return None
    return [name for name, line in lines.items() if is_slower(line)]


def notes(tree):
    """What is to be said about rows without a time."""
    return [f"{row['name']}, {TITLES[peer]}: {next(iter(bad.items()))[0]}: {next(iter(bad.items()))[1]}"
            for row in tree["rows"] for peer, seen in row["results"].items()
            for bad in [one for one in seen if "clock" not in one][:1]]


def differing(tree):
    """{row: its checksums} of the rows whose checksums are not all equal."""
    wrong = {}
    for row in tree["rows"]:
        sums = [(TITLES[peer], one["sum"]) for peer, seen in row["results"].items() for one in seen if "sum" in one]
        if len({value for _, value in sums}) > 1:
            wrong[row["name"]] = ", ".join(sorted({f"{title} {value}" for title, value in sums}))
    return wrong


def has_failed(tree):
    return any("failed" in one for row in tree["rows"] for seen in row["results"].values() for one in seen)


def heading(tree):
    """One line: what was run, and how."""
    umbra = " ".join(["umbra", *tree["umbra_options"]])
    return (f"{umbra}; scale {tree['scale']} %; medians of {tree['rounds']}; {tree['memory']} of guest memory; "
            f"{'natively without AVX and ERMS in the C library; ' if tree['baseline'] else ''}"
            f"load at the start {tree['load']:.2f}")


def table(tree):
    """The whole result as text."""
    def cell(value):
        return f"{value:9.1f}" if isinstance(value, float) else f"{value or '-':>9}"

    def factor(value):
        return f"{value:13.2f}" if value else f"{'-':>13}"

    heads = "".join(f"{TITLES[a] + '/' + TITLES[b]:>13}" for a, b in RATIOS)
    lines = [heading(tree),
             f"{tree['by'] + ' ms':13}{'group':13}" + "".join(f"{title:>9}" for title in TITLES.values()) + heads]
    for row in tree["rows"]:
        line = medians(row, tree["by"])
        lines.append(f"{row['name']:13}{row['group']:13}" + "".join(cell(line.get(peer)) for peer in TITLES) +
                     "".join(factor(ratio(line, *pair)) for pair in RATIOS))
    means = geometric_means(tree)
    if means:
        lines.append(f"{'geometric means':53}" + heads)
    for group, pairs in means.items():
        count = max(number for _, number in pairs.values())
        lines.append(f"{group:26}{f'rows: {count}':27}" +
                     "".join(factor(pairs.get(pair, (None,))[0]) for pair in RATIOS))
    slower = slower_rows(tree)
    if slower is not None:
        lines.append(f"slower than TCG: {len(slower)} of {len(tree['rows'])}" +
                     (": " + ", ".join(slower) if slower else ""))
    lines += notes(tree)
    lines += [f"{row}: checksums differ: {sums}" for row, sums in differing(tree).items()]
    return "\n".join(lines)
