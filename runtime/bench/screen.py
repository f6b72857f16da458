"""A report for people: one screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_INDENT = 13


def screen(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines."""
    machine, bundle, notes = report["machine"], report["bundle"], report["notes"]
    has = ", ".join(name for name, there in machine["instructions"].items() if there)
    engine = " ".join(f"{name} {version}" for name, version in bundle["engine"].items())
    kind = "invented notes" if notes["invented"] else "of your notes"
    yield f"clin-edge {machine['versions']['clin-edge']}: speed on this machine"
    yield ""
    yield _line("Processor", f"{machine['processor']}{f' ({has})' if has else ''}")
    yield _line("Threads", f"{machine['threads']} of {machine['cpus']} CPUs")
    yield _line(
        "Bundle",
        f"{bundle['name']} {bundle['version']} ({bundle['id']}), {bundle['precision']}, {engine}",
    )
    yield _line(
        "Notes",
        f"{notes['notes']:,} {kind}, {notes['words_per_note']:,.0f} words each on average",
    )
    yield ""
    yield from _own(report["figures"], machine["threads"])
    yield from _cost(report["cost"])
    if report["peers"]:
        yield ""
        yield from _peers(report["peers"])


def _own(figures: Mapping[str, Mapping[str, float]], threads: int) -> Iterator[str]:
    middle = {name: figure["median"] for name, figure in figures.items()}
    words = figures["words_per_s"]
    yield _line(
        "Speed",
        f"{words['median']:,.0f} words/s ({words['lowest']:,.0f} to {words['highest']:,.0f}), "
        f"{middle['tokens_per_s']:,.0f} tokens/s, {middle['notes_per_s']:,.1f} notes/s",
    )
    yield _line(
        "Limit",
        f"{middle['fraction_of_limit']:.0%} of what this machine's arithmetic allows "
        f"(8-bit alone: {middle['fraction_of_int8_products']:.0%}, "
        f"32-bit alone: {middle['fraction_of_float32_products']:.0%})",
    )
    yield _line(
        "Work",
        f"{middle['cores_busy']:.1f} of {threads} threads busy; "
        f"{middle['outside_engine_fraction']:.1%} of the time is not the network's",
    )
    for percent, said in ((50, "half of notes within"), (95, "95 of 100 within"), (99, "99")):
        times = ", ".join(
            f"{n:,} words: {_time(middle[f'latency_{n}_words_p{percent}_s'])}"
            for n in (100, 500, 2000)
        )
        yield _line("One note" if percent == 50 else "", f"{said:21} {times}")
    yield _line(
        "Start",
        f"{_time(middle['cold_start_s'])} to the first record; "
        f"{_time(middle['cold_start_no_worker_s'])} with --workers 0",
    )
    memory = middle.get("extract_peak_memory_bytes")
    held = "unknown" if memory is None else f"{memory / 1e6:,.0f} MB at most"
    yield _line("Whole run", f"{middle['extract_words_per_s']:,.0f} words/s, start included")
    yield _line("Memory", held)
    yield _line("CPU time", f"{middle['cpu_s_per_1000_notes']:,.1f} s for 1,000 notes")
    joules = middle.get("energy_j_per_1000_notes")
    yield _line(
        "Energy",
        "unknown; the machine does not tell" if joules is None else f"{joules:,.0f} J for 1,000",
    )


def _cost(cost: Mapping[str, Any]) -> Iterator[str]:
    yield _line(
        "Cost",
        f"{cost['currency_per_million_notes']:,.2f} for a million notes, if a core-hour costs "
        f"{cost['price_per_core_hour']:g}",
    )
    models = ", ".join(
        f"{name} {model['usd_per_million_notes_at_least']:,.0f}"
        for name, model in cost["language_models"].items()
    )
    yield _line("", f"language models, USD at least: {models}")


def _peers(peers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield f"{'Instead':22}{'words/s':>9}{'memory':>11}   clin-edge is faster"
    for name, peer in peers.items():
        if "skipped" in peer:
            yield f"{name:22}{'-':>9}{'-':>11}   {peer['skipped']}"
            continue
        figures = peer["figures"]
        times = figures["clin_edge_times_faster"]
        memory = figures.get("peak_memory_bytes")
        held = "unknown" if memory is None else f"{memory['median'] / 1e6:,.0f} MB"
        yield (
            f"{name:22}{figures['words_per_s']['median']:>9,.0f}{held:>11}   "
            f"{times['median']:.2f} times ({times['lowest']:.2f} to {times['highest']:.2f}); "
            f"{peer['network']}"
        )


def _line(name: str, said: str) -> str:
    return f"{name:{_INDENT}}{said}"


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:,.0f} ms" if seconds < 1 else f"{seconds:,.2f} s"
