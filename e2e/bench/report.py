"""Samples to tables: medians, ratios, and Markdown that the README can quote.

Must not know how samples come about.
"""

from statistics import median

TITLES = {"http1": "HTTP/1.1", "http2": "HTTP/2", "http3": "HTTP/3"}
NOTHING = "-"


def markdown(results):
    """The whole report."""
    parts = [
        f"{results['machine']}. {results['date']}.",
        *(section(results) for section in (speed, memory, slow_reader, sessions)),
        failures(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def speed(results):
    samples = results.get("speed")
    if not samples:
        return ""
    rows = []
    for version in TITLES:
        for proxy in results["proxies"]:
            own = good(samples, proxy, version)
            if not own:
                continue
            rows.append([
                TITLES[version] if not proxy["is_floor"] else "QUIC, no HTTP",
                label(proxy),
                number(middle(own, "cpu_s_per_million")),
                number(ratio_to(samples, own, "envoy", version)),
                f"{middle(own, 'messages_per_s'):,.0f}",
                f"{middle(own, 'p50_us') / 1000:.2f}",
                f"{middle(own, 'p99_us') / 1000:.2f}",
                f"{middle(own, 'cores'):.0%}",
            ])  # fmt: skip
    head = ["", "", "CPU s per million echoes", "of Envoy's", "messages/s", "p50 ms", "p99 ms", "core busy"]
    extent = results["extent"]
    text = (
        f"**Speed**: 64-byte WebSocket echoes, closed loop, {extent['speed_shape']} tunnels, one worker on one core, "
        f"load and backend on another; medians of {extent['rounds']} interleaved rounds of {extent['messages']:,} "
        "messages, and the median of the rounds' ratios."
    )
    return f"{text}\n\n{table(head, rows)}"


def memory(results):
    samples = results.get("memory")
    if not samples:
        return ""
    head = ["KB of resident memory", *(label(proxy) for proxy in results["proxies"])]
    rows = []
    for version in TITLES:
        for per, noun in (("tunnels", "tunnel"), ("connections", "connection")):
            of_row = [sample for sample in samples if sample["version"] == version and sample["per"] == per]
            if not of_row:
                continue
            cells = []
            for proxy in results["proxies"]:
                own = good(of_row, proxy, version)
                cells.append(number(middle(own, "kb_each")) if own else NOTHING)
            rows.append([f"{TITLES[version]}, a {noun} ({of_row[0]['shape']})", *cells])
    return f"**Memory**: idle tunnels on a fresh process.\n\n{table(head, rows)}"


def slow_reader(results):
    samples = results.get("slow_reader")
    if not samples:
        return ""
    proxies = [proxy for proxy in results["proxies"] if not proxy["is_floor"]]
    rows = []
    for version in TITLES:
        cells = []
        for proxy in proxies:
            own = good(samples, proxy, version)
            if own:
                grown, written = middle(own, "rss_growth_kb"), middle(own, "backend_wrote_octets")
                cells.append(f"{grown:,.0f} KB / {written / 1024:,.0f} KB")
            else:
                cells.append(NOTHING)
        if any(sample["version"] == version for sample in samples):
            rows.append([TITLES[version], *cells])
    text = (
        f"**Slow reader**: the client reads nothing for {samples[0]['seconds']} s while the backend sends as fast as "
        "it can: growth of resident memory / what the backend could write (socket buffers of the kernel included)."
    )
    return f"{text}\n\n{table(['', *(label(proxy) for proxy in proxies)], rows)}"


def sessions(results):
    samples = [sample for sample in results.get("sessions") or [] if "failed" not in sample]
    if not samples:
        return ""
    titles = list(dict.fromkeys(sample["title"] for sample in samples))
    rows = []
    for name in dict.fromkeys(sample["name"] for sample in samples):
        of_row = [sample for sample in samples if sample["name"] == name]
        cells = []
        for title in titles:
            own = [sample for sample in of_row if sample["title"] == title]
            cells.append(grouped(middle(own, "value")) if own else NOTHING)
        rows.append([name, *cells])
    text = "**WebTransport sessions**: one worker on one core, load and backend on another; medians of the rounds."
    return f"{text}\n\n{table(['', *titles], rows)}"


def failures(results):
    lines = [
        f"- sessions: {sample['title']}, {sample['name']}: {sample['failed']}"
        for sample in results.get("sessions") or []
        if "failed" in sample
    ]
    for part in ("speed", "memory", "slow_reader"):
        for sample in results.get(part) or []:
            if "failed" in sample:
                why = ": ".join(line for line in sample["failed"].splitlines()[:3] if not line.startswith("---"))
                lines.append(f"- {part}: {sample['proxy']} over {TITLES[sample['version']]}: {why}")
    return "**Failed**\n\n" + "\n".join(lines) if lines else ""


def ratio_to(samples, own, peer, version):
    """The median of the ratios that rounds had, each with both sides of the same round."""
    peers = {sample["round"]: sample for sample in good(samples, {"name": peer}, version)}
    ratios = [
        sample["cpu_s_per_million"] / peers[sample["round"]]["cpu_s_per_million"]
        for sample in own
        if sample["round"] in peers and peers[sample["round"]]["cpu_s_per_million"] > 0
    ]
    return median(ratios) if ratios else None


def good(samples, proxy, version):
    return [
        sample
        for sample in samples
        if sample["proxy"] == proxy["name"] and sample["version"] == version and "failed" not in sample
    ]


def middle(samples, key):
    return median(sample[key] for sample in samples)


def label(proxy):
    return proxy["title"] if proxy["is_floor"] else f"{proxy['title']} {proxy['version']}"


def number(value):
    """Three digits at most, which is more than the noise allows."""
    if value is None:
        return NOTHING
    return f"{value:.2f}" if abs(value) < 9.95 else f"{value:.1f}" if abs(value) < 99.5 else f"{value:.0f}"


def grouped(value):
    """The same where figures may be large: octets."""
    return number(value) if abs(value) < 999.5 else f"{value:,.0f}"


def table(head, rows):
    """A Markdown table that is aligned for a terminal too: the first columns to the left, figures to the right."""
    lines = [head, *rows]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(head))]
    figures = [bool(rows) and all(row[column][:1] in "-0123456789" for row in rows) for column in range(len(head))]

    def line(cells):
        padded = (
            cell.rjust(width) if figure else cell.ljust(width) for cell, width, figure in zip(cells, widths, figures)
        )
        return f"| {' | '.join(padded)} |"

    rule = (f"{'-' * (width - 1)}{':' if figure else '-'}" for width, figure in zip(widths, figures))
    return "\n".join([line(head), f"| {' | '.join(rule)} |", *(line(row) for row in rows)])
