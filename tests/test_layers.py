"""The layers hold, and the edge stays lean, offline and quick to start."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("src", "distill", "export", "runtime", "tests", "benchmarks")
# A training stack, or a way onto the network.
HEAVY = {
    "aiohttp",
    "google",
    "httpx",
    "httpx2",
    "huggingface_hub",
    "nncf",
    "onnx",
    "openai",
    "requests",
    "torch",
    "transformers",
    "urllib3",
}
PICKLES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}

IMPORT_THE_EDGE = """
import importlib, json, pkgutil, sys
happened = []
def watch(event, arguments):
    if event.startswith(("socket.", "urllib.", "subprocess.", "os.fork", "os.posix_spawn")):
        happened.append(event)
sys.addaudithook(watch)
import clin_edge.core, clin_edge.runtime
walked = []
for package in (clin_edge.core, clin_edge.runtime):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
        walked.append(module.name)
import onnxruntime, openvino  # however late the runtime loads them itself
from concurrent.futures import thread
thread._python_exit()  # let whatever the imports have queued come to its end
print(json.dumps({
    "happened": happened,
    "loaded": sorted({name.partition(".")[0] for name, it in sys.modules.items() if it}),
    "walked": walked,
}))
"""

SHOW_HELP = """
import sys, time
from clin_edge.cli import main
sys.argv = ["clin-edge", "--help"]
try:
    main()
except SystemExit as done:
    assert not done.code, done.code
print("numpy" in sys.modules, time.process_time(), file=sys.stderr)
"""


def fresh(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """What ``code`` says in an interpreter that has imported nothing yet."""
    usual = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**usual, "PYTHONPATH": str(ROOT / "src"), **env},
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What importing all of core, runtime and both engines did; not on a CI server, as far as
    they can tell: there they behave better than elsewhere.

    ``home`` are the files it left in the user's home.
    """
    home = tmp_path_factory.mktemp("home")
    edge = json.loads(fresh(IMPORT_THE_EDGE, HOME=str(home), LOCALAPPDATA=str(home)).stdout)
    edge["home"] = [str(path.relative_to(home)) for path in home.rglob("*")]
    return edge  # type: ignore[no-any-return]


def modules_on_disk(package: str, folder: Path) -> Iterator[str]:
    for path in folder.rglob("*.py"):
        inside = path.relative_to(folder).with_suffix("").parts
        yield ".".join([package, *(part for part in inside if part != "__init__")])


def python_files() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(parent.is_symlink() for parent in path.parents):
                yield path


def test_the_contracts_are_kept() -> None:
    lint = "from importlinter.cli import lint_imports_command as lint; lint()"
    done = subprocess.run(
        [sys.executable, "-c", lint, "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_linter_sees_every_module_through_the_links() -> None:
    expected = set(modules_on_disk("clin_edge.core", ROOT / "src/clin_edge/core"))
    for side in ("distill", "export", "runtime"):
        expected |= set(modules_on_disk(f"clin_edge.{side}", ROOT / side))
    assert expected - grimp.build_graph("clin_edge", cache_dir=None).modules == set()


def test_the_edge_loads_no_training_stack_and_no_network_client(
    edge: dict[str, list[str]],
) -> None:
    assert HEAVY & set(edge["loaded"]) == set()


def test_all_of_the_edge_was_imported(edge: dict[str, list[str]]) -> None:
    expected = set(modules_on_disk("clin_edge.core", ROOT / "src/clin_edge/core"))
    expected |= set(modules_on_disk("clin_edge.runtime", ROOT / "runtime"))
    assert expected - {"clin_edge.core", "clin_edge.runtime"} == set(edge["walked"])


def test_importing_the_edge_calls_nobody_and_leaves_no_trace(edge: dict[str, list[str]]) -> None:
    # Left alone, openvino reports every import to google-analytics.com from a forked child,
    # onnxruntime opens Microsoft's uploader from C++, where no audit hook sees it, and both keep
    # an identifier in the user's home: what lies there tells on both.
    assert edge["happened"] == []
    assert edge["home"] == []
    assert "openvino_telemetry" not in edge["loaded"]


def test_help_needs_no_numpy_and_little_time() -> None:
    seconds = []
    for _ in range(3):
        has_numpy, process_time_s = fresh(SHOW_HELP).stderr.split()
        assert has_numpy == "False"
        seconds.append(float(process_time_s))
    assert min(seconds) < 0.5


def pickles(source: str) -> Iterator[str]:
    """Every way in which ``source`` could read a pickle, as it stands there."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            names = ["pickle"] if ast.unparse(node.value) != "False" else []
        yield from (name for name in names if name == "torch.load" or name.split(".")[0] in PICKLES)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, joblib.externals",
        "from pickle import loads",
        "from torch import load",
        "torch.load(path)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_a_pickle_would_be_found(source: str) -> None:
    assert list(pickles(source)) != []


def test_no_file_reads_pickles() -> None:
    found = {
        str(path.relative_to(ROOT)): names
        for path in python_files()
        if (names := list(pickles(path.read_text(encoding="utf-8"))))
    }
    assert found == {}
