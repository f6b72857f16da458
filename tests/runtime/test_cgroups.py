"""What control groups leave to a process: every layout they come in, and a real one."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clin_edge.runtime import cgroups
from clin_edge.runtime.cgroups import cpu_quota, memory_left, memory_limit
from linux_trees import V1, V2, linux_tree

TOP = "sys/fs/cgroup"
V1_CPU = V1.format(root="/", name="cpu")
V1_MEMORY = V1.format(root="/", name="memory")


def v1_cpu(where: str, quota: object, period: object = 100_000) -> dict[str, str]:
    folder = f"{TOP}/cpu/{where}".rstrip("/")
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}"}


def v2_cpu(where: str, text: str) -> dict[str, str]:
    return {f"{TOP}/{where}/cpu.max": text + "\n"}


# How a system is laid out, and the CPUs' worth of time it leaves.
QUOTAS: dict[str, tuple[dict, float]] = {
    "no groups at all": ({"mounts": ()}, math.inf),
    "no limit": ({"files": v2_cpu("", "max 100000")}, math.inf),
    "at the top": ({"files": v2_cpu("", "150000 100000")}, 1.5),
    "at its own group": (
        {"own": "0::/a/b", "files": v2_cpu("a/b", "300000 100000")},
        3,
    ),
    "at the group above, as systemd's slices have it": (
        {"own": "0::/a/b", "files": v2_cpu("a/b", "max 100000") | v2_cpu("a", "200000 100000")},
        2,
    ),
    "a nearer limit that is laxer": (
        {"own": "0::/a/b", "files": v2_cpu("a/b", "400000 100000") | v2_cpu("a", "50000 100000")},
        0.5,
    ),
    "another group's limit": ({"own": "0::/a", "files": v2_cpu("b", "100000 100000")}, math.inf),
    "a container that sees its group as the top": (
        {
            "own": "0::/docker/7f",
            "mounts": (V2.format(root="/docker/7f"),),
            "files": v2_cpu("", "250000 100000"),
        },
        2.5,
    ),
    "a container whose own path leads outside": (
        {"own": "0::/../../x", "files": v2_cpu("", "250000 100000")},
        2.5,
    ),
    "a mount of somebody else's groups": (
        {
            "own": "0::/here",
            "mounts": (V2.format(root="/there"),),
            "files": v2_cpu("", "100000 100000") | v2_cpu("here", "50000 100000"),
        },
        1,
    ),
    "version 1": ({"own": "2:cpu:/", "mounts": (V1_CPU,), "files": v1_cpu("", 200_000)}, 2),
    "version 1 without a limit": (
        {"own": "2:cpu:/", "mounts": (V1_CPU,), "files": v1_cpu("", -1)},
        math.inf,
    ),
    "version 1, two controllers in one, in a group": (
        {
            "own": "12:pids:/x\n3:cpu,cpuacct:/g",
            "mounts": ("0:0 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct",),
            "files": v1_cpu("", -1) | v1_cpu("g", 70_000, 100_000),
        },
        0.7,
    ),
    "version 1, another controller": (
        {"own": "2:cpuacct:/", "mounts": (V1_CPU,), "files": v1_cpu("", 100_000)},
        math.inf,
    ),
    "both versions at once": (
        {
            "own": "2:cpu:/g\n0::/h",
            "mounts": (V1_CPU, "0:0 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"),
            "files": v1_cpu("g", 300_000) | v2_cpu("unified/h", "max 100000"),
        },
        3,
    ),
}


@pytest.mark.parametrize(("layout", "expected"), QUOTAS.values(), ids=QUOTAS)
def test_the_smallest_quota_of_all_levels_counts(tmp_path, layout, expected) -> None:
    assert cpu_quota(linux_tree(tmp_path, **layout)) == expected


NONSENSE = ["", "max", "max max", "1 2 3", "a b", "100000", "\0", "100000 0", "0 0"]


@pytest.mark.parametrize("text", NONSENSE)
def test_a_quota_that_makes_no_sense_is_none(tmp_path, text: str) -> None:
    assert cpu_quota(linux_tree(tmp_path, files=v2_cpu("", text))) == math.inf


@pytest.mark.parametrize("name", ["proc/self/cgroup", "proc/self/mountinfo"])
@pytest.mark.parametrize("text", ["", "\n\n", "x", ":", "7", " - ", " - cgroup2", "a b c - cgroup"])
def test_a_system_that_tells_nothing_readable_sets_no_bound(tmp_path, name, text) -> None:
    tree = linux_tree(tmp_path, files=v2_cpu("", "100000 100000"))
    (tree / name).write_text(text)
    assert cpu_quota(tree) == math.inf
    assert memory_limit(tree) is None
    (tree / name).unlink()
    assert cpu_quota(tree) == math.inf


@given(quotas=st.lists(st.none() | st.integers(1, 10**7), min_size=1, max_size=6))
def test_of_a_chain_of_groups_the_tightest_bounds(tmp_path_factory, quotas) -> None:
    names = [f"g{nth}" for nth in range(len(quotas))]
    files: dict[str, str] = {}
    for depth, quota in enumerate(quotas):
        text = "max 100000" if quota is None else f"{quota} 100000"
        files |= v2_cpu("/".join(names[: depth + 1]), text)
    tree = linux_tree(tmp_path_factory.mktemp("t"), own=f"0::/{'/'.join(names)}", files=files)
    expected = min((quota / 100_000 for quota in quotas if quota), default=math.inf)
    assert cpu_quota(tree) == expected


# --- memory --------------------------------------------------------------------------------------

GB = 10**9
NO_LIMIT_IN_V1 = 9223372036854771712


def test_memory_of_version_2_counts_idle_file_pages_as_free(tmp_path) -> None:
    files = {
        f"{TOP}/a/memory.max": f"{2 * GB}\n",
        f"{TOP}/a/memory.current": f"{GB}\n",
        f"{TOP}/a/memory.stat": f"anon 5\ninactive_file {GB // 4}\n",
        f"{TOP}/a/b/memory.max": "max\n",
    }
    tree = linux_tree(tmp_path, own="0::/a/b", files=files)
    assert memory_limit(tree) == 2 * GB
    assert memory_left(tree) == GB + GB // 4


def test_memory_of_version_1_counts_idle_file_pages_as_free(tmp_path) -> None:
    folder = f"{TOP}/memory"
    files = {
        f"{folder}/memory.limit_in_bytes": f"{NO_LIMIT_IN_V1}\n",
        f"{folder}/j/memory.limit_in_bytes": f"{GB}\n",
        f"{folder}/j/memory.usage_in_bytes": f"{GB // 2}\n",
        f"{folder}/j/memory.stat": f"inactive_file 7\ntotal_inactive_file {GB // 10}\n",
    }
    tree = linux_tree(tmp_path, own="4:memory:/j", mounts=(V1_MEMORY,), files=files)
    assert memory_limit(tree) == GB
    assert memory_left(tree) == GB // 2 + GB // 10


def test_no_limit_leaves_no_bound(tmp_path) -> None:
    files = {f"{TOP}/memory.max": "max\n", f"{TOP}/memory.current": "5\n"}
    tree = linux_tree(tmp_path, files=files)
    assert memory_limit(tree) is None
    assert memory_left(tree) is None


def test_a_group_over_its_limit_has_nothing_left(tmp_path) -> None:
    files = {f"{TOP}/memory.max": "100\n", f"{TOP}/memory.current": "200\n"}
    assert memory_left(linux_tree(tmp_path, files=files)) == 0


# --- real groups ---------------------------------------------------------------------------------

Limited = Callable[..., str]
JOIN = "import pathlib, sys; pathlib.Path(sys.argv[1], 'cgroup.procs').write_text('0')\n"


@pytest.fixture
def limited(request: pytest.FixtureRequest) -> Iterator[Limited]:
    """Run a line of Python in a real group below ours, with limits; give what it prints."""
    made: list[Path] = []

    def run(controller: str, code: str, **limits: str) -> str:
        version, own = next(iter(cgroups._groups(controller, cgroups.ROOT)), (0, Path()))
        if not version:
            pytest.skip(f"no control group for {controller} can be seen here")
        outer = own / f"clin_edge_{request.node.name[:20]}"
        try:
            for group in (outer, outer / "inner"):
                group.mkdir()
                made.append(group)
                names = [name for name in limits if name.startswith(f"v{version}_")]
                for name in names if group == outer else []:
                    file, _, value = limits[name].partition("=")
                    (group / file).write_text(value)
        except OSError as error:
            pytest.skip(f"this machine lets us make no limited group ({error.strerror})")
        done = subprocess.run(
            [sys.executable, "-c", JOIN + code, str(outer / "inner")],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    yield run
    for group in reversed(made):
        group.rmdir()


def test_a_real_quota_above_the_own_group_is_found(limited: Limited) -> None:
    code = "from clin_edge.runtime.cgroups import cpu_quota; print(cpu_quota())"
    quota = {"v1_a": "cpu.cfs_quota_us=70000", "v2_a": "cpu.max=70000 100000"}
    assert limited("cpu", code, **quota) == "0.7"


def test_a_real_quota_bounds_the_threads(limited: Limited, monkeypatch) -> None:
    monkeypatch.delenv("CLIN_EDGE_THREADS", raising=False)
    code = "from clin_edge.runtime.threads import usable_threads; print(usable_threads())"
    quota = {"v1_a": "cpu.cfs_quota_us=100000", "v2_a": "cpu.max=100000 100000"}
    assert limited("cpu", code, **quota) == "1"


def test_a_real_limit_of_memory_is_found(limited: Limited) -> None:
    code = (
        "from clin_edge.runtime.memory import memory_available_bytes, memory_limit_bytes\n"
        "print(memory_limit_bytes(), 0 < memory_available_bytes() < memory_limit_bytes())"
    )
    limit = {"v1_a": "memory.limit_in_bytes=314572800", "v2_a": "memory.max=314572800"}
    assert limited("memory", code, **limit) == "314572800 True"
