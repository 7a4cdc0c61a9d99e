"""Turns the samples of one run into a table with verdicts, and into a chart.

    python3 perf/report.py RESULT.json      prints the table of an earlier run
"""

import html
import json
import math
import statistics
import sys

OURS = "skupper"

# (key, what the table says, unit, larger is better)
ROWS = [
    ("up_1", "1 stream, client to server", "Gbit/s", True),
    ("down_1", "1 stream, server to client", "Gbit/s", True),
    ("up_8", "8 streams, client to server", "Gbit/s", True),
    ("down_8", "8 streams, server to client", "Gbit/s", True),
    ("up_64", "64 streams, client to server", "Gbit/s", True),
    ("down_64", "64 streams, server to client", "Gbit/s", True),
    ("fair_up", "64 streams up: slowest / mean", "", True),
    ("fair_down", "64 streams down: slowest / mean", "", True),
    ("cpu_1", "CPU of the pair, 1 stream", "s/GB", False),
    ("cpu_8", "CPU of the pair, 8 streams", "s/GB", False),
    ("cpu_64", "CPU of the pair, 64 streams", "s/GB", False),
    ("p50_1", "request, 1 connection, p50", "us", False),
    ("p99_1", "request, 1 connection, p99", "us", False),
    ("p50_32", "request, 32 connections, p50", "us", False),
    ("p99_32", "request, 32 connections, p99", "us", False),
    ("p99_half", "request, half the pair's peak rate, p99", "us", False),
    ("rate_32", "requests, 32 connections", "1/s", True),
    ("connects", "new connections, one request each", "1/s", True),
    ("connect_p99", "such a connection, p99", "us", False),
    ("cpu_connect", "CPU of the pair, 1,000 connections", "s", False),
    ("wan_20", "1 stream, 20 ms round trip", "Mbit/s", True),
    ("wan_50", "1 stream, 50 ms round trip", "Mbit/s", True),
    ("wan_100", "1 stream, 100 ms round trip", "Mbit/s", True),
    ("page_20", "page of 25 parts, 20 ms round trip", "ms", False),
    ("page_50", "page of 25 parts, 50 ms round trip", "ms", False),
    ("page_100", "page of 25 parts, 100 ms round trip", "ms", False),
    ("rss_idle", "RSS idle, larger of the pair", "MB", False),
    ("rss_load", "RSS under bulk load", "MB", False),
    ("rss_idle_connections", "RSS with the idle connections", "MB", False),
    ("rss_per_connection", "RSS of each idle connection", "KB", False),
    ("rss_rest", "RSS at rest after all of it", "MB", False),
]

# What issue 4 asks for: (key, compared with, at least / at most this ratio or value).
GOALS = [
    ("up_1", "pair", ">=", 1.4), ("up_1", "skrouterd", ">=", 3.4),
    ("up_8", "pair", ">=", 1.15), ("up_8", "skrouterd", ">=", 2.2),
    ("up_64", "own up_8", ">=", 0.95),
    ("cpu_1", "pair", "<=", 0.75),
    ("p50_1", "pair", "<=", 0.95), ("p99_half", "pair", "<=", 1.0), ("rate_32", "pair", ">=", 1.3),
    ("connects", "pair", ">=", 10), ("connects", "skrouterd", ">=", 3.5),
    ("wan_50", "pair", ">=", 0.9), ("wan_50", "skrouterd", ">=", 8),
    ("rss_idle", "value", "<=", 12), ("rss_per_connection", "value", "<=", 8),
    ("rss_rest", "own rss_idle", "<=", 1.1),
    ("fair_up", "value", ">=", 0.9), ("fair_down", "value", ">=", 0.9),
]

BETTER = {key: larger for key, _, _, larger in ROWS}
LABELS = {key: label for key, label, _, _ in ROWS}


def median(result, system, key):
    values = result["systems"].get(system, {}).get("samples", {}).get(key)
    return statistics.median(values) if values else None


def best_pair(result, key):
    """(value, name) of the best of the HAProxy, nginx and stunnel pairs in this row."""
    found = [(median(result, name, key), name) for name in result["pairs"]]
    found = [entry for entry in found if entry[0] is not None]
    if not found:
        return None, None
    return (max if BETTER[key] else min)(found)


def verdicts(result):
    """(key, what was compared, ratio, goal as text, met) for each goal that this run can judge."""
    found = []
    for key, against, sign, goal in GOALS:
        own = median(result, OURS, key)
        if against == "pair":
            other, name = best_pair(result, key)
        elif against == "skrouterd":
            other, name = median(result, "skrouterd", key), "skrouterd"
        elif against.startswith("own "):
            other, name = median(result, OURS, against[4:]), f"our {LABELS[against[4:]]}"
        else:
            other, name = 1, "limit"
        if own is None or not other:
            continue
        ratio = own / other
        met = ratio >= goal if sign == ">=" else ratio <= goal
        found.append((key, name, ratio, f"{sign} {goal:g}", met))
    return found


def number(value):
    if value is None:
        return "-"
    if abs(value) < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}"


def spread(values):
    """Half of the distance from the smallest to the largest sample, in percent of the median."""
    middle = statistics.median(values)
    return 50 * (max(values) - min(values)) / middle if middle else 0


def table(result):
    names = list(result["systems"])
    lines = [
        f"{result['when']}, commit {result['commit']}, {result['cores']} cores of {result['processor']}, kernel "
        f"{result['kernel']}",
        f"{result['rounds']} rounds, {result['took_seconds']} s; load average {result['load_average_before']} before, "
        f"then {', '.join(map(str, result['load_averages']))}",
        f"idle connections: {result['idle_connections']:,}; at rest: {result['rest_seconds']} s after "
        f"{result['connections_before_rest']:,} connections, or as many as it took in "
        f"{result.get('connecting_seconds', 300)} s",
        "", f"{'medians':42} {'unit':7}" + "".join(f"{name:>11}" for name in names) + f"{'ours±':>8}{'ours/pair':>11}"]
    for key, label, unit, _ in ROWS:
        values = [median(result, name, key) for name in names]
        if all(value is None for value in values):
            continue
        own = result["systems"][OURS]["samples"].get(key)
        pair, _ = best_pair(result, key)
        ratio = f"{statistics.median(own) / pair:11.2f}" if own and pair else f"{'-':>11}"
        lines.append(f"{label:42} {unit:7}" + "".join(f"{number(value):>11}" for value in values)
                     + (f"{spread(own):7.0f}%" if own else f"{'-':>8}") + ratio)
    lines += ["", f"{'verdict':42} {'against':38}{'ratio':>8}  goal"]
    for key, name, ratio, goal, met in verdicts(result):
        lines.append(f"{LABELS[key]:42} {name:38}{number(ratio):>8}  {goal:8} {'met' if met else 'MISSED'}")
    met = [verdict[4] for verdict in verdicts(result)]
    lines.append(f"{sum(met)} of {len(met)} goals met")
    for name, system in result["systems"].items():
        for failure in sorted(set(system["failures"])):
            lines.append(f"note: {name}: {failure}")
    return "\n".join(lines)


def chart(result):
    """Bars of how many times better each system is than the best pair, on a logarithmic axis."""
    names = [name for name in result["systems"] if name not in ("direct",)]
    colours = ["#9aa0a6", "#1a73e8", "#e8710a", "#188038", "#a142f4", "#d93025"]
    colour = {name: colours[index % len(colours)] for index, name in enumerate(names)}
    rows = [key for key, *_ in ROWS if best_pair(result, key)[0]]
    left, width, bar, top = 290, 520, 7, 70
    row_height = bar * len(names) + 8
    height = top + row_height * len(rows) + 40

    def x(ratio):
        return left + width / 2 + width / 4 * max(-2, min(2, math.log10(max(ratio, 1e-6))))

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 70}" height="{height}" '
             'font-family="sans-serif" font-size="11">',
             f'<rect width="100%" height="100%" fill="white"/><text x="10" y="20" font-size="14">Times better than the '
             f'best of {html.escape(", ".join(result["pairs"]))}, {result["when"][:10]}, commit '
             f'{result["commit"]}</text>']
    for index, name in enumerate(names):
        parts.append(f'<rect x="{10 + 110 * index}" y="32" width="10" height="10" fill="{colour[name]}"/>'
                     f'<text x="{24 + 110 * index}" y="41">{html.escape(name)}</text>')
    for exponent in range(-2, 3):
        at = x(10 ** exponent)
        parts.append(f'<line x1="{at}" y1="{top - 8}" x2="{at}" y2="{height - 30}" stroke="#ddd"/>'
                     f'<text x="{at}" y="{height - 14}" text-anchor="middle">{10.0 ** exponent:g}×</text>')
    for index, key in enumerate(rows):
        y = top + index * row_height
        parts.append(f'<text x="{left - 8}" y="{y + row_height / 2}" text-anchor="end">{html.escape(LABELS[key])}'
                     '</text>')
        pair, _ = best_pair(result, key)
        for place, name in enumerate(names):
            value = median(result, name, key)
            if not value:
                continue
            ratio = value / pair if BETTER[key] else pair / value
            start, end = sorted((x(1), x(ratio)))
            parts.append(f'<rect x="{start:.1f}" y="{y + place * bar}" width="{max(end - start, 1):.1f}" '
                         f'height="{bar - 1}" fill="{colour[name]}"><title>{html.escape(name)}: {number(value)}'
                         f'</title></rect>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        print(table(json.load(file)))
