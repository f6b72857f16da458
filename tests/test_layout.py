"""The package has one shape, however it is built or installed."""

import configparser
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest
from build import ProjectBuilder

ROOT = Path(__file__).resolve().parents[1]
SIDES = ("distill", "export", "runtime")
# What a working tree gathers and no archive may hold.
LEFTOVERS = (
    ".venv/leftover.py",
    ".venv-dev/leftover.py",
    "build/student/leftover.bin",
    "dist/leftover.whl",
    "demo-records.jsonl",
    "runtime/__pycache__/leftover.cpython-311.pyc",
    ".mypy_cache/leftover.json",
    ".pytest_cache/leftover",
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, with leftovers planted in it."""
    made = {path.split("/")[0] for path in LEFTOVERS} - set(SIDES)
    tree = tmp_path_factory.mktemp("layout") / "tree"
    skip = shutil.ignore_patterns(".git", "__pycache__", ".*_cache", ".hypothesis", *made)
    shutil.copytree(ROOT, tree, symlinks=True, ignore=skip)
    for path in LEFTOVERS:
        leftover = tree / path
        leftover.parent.mkdir(parents=True, exist_ok=True)
        leftover.write_bytes(b"leftover")
    return tree


@pytest.fixture(scope="module")
def wheel(tree: Path) -> Path:
    """The wheel made from the tree."""
    return built(tree, "wheel")


@pytest.fixture(scope="module")
def sdist(tree: Path) -> Path:
    """The source archive made from the tree."""
    return built(tree, "sdist")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the wheel, without what it depends on."""
    return pip_installed(tmp_path_factory.mktemp("installed"), str(wheel))


def built(source: Path, kind: str) -> Path:
    """The path of a freshly built ``kind``: wheel, sdist or editable. Needs no network."""
    out = source.parent / f"{source.name}-{kind}"
    silent = ProjectBuilder(source, runner=run_silently)
    return Path(silent.build(kind, out))  # type: ignore[arg-type]


def run_silently(
    command: list[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None
) -> None:
    run(*command, cwd=cwd, env={**os.environ, **(extra_environ or {})})


def run(*command: str, **options: object) -> str:
    """What the command wrote to stdout; if it fails, its stderr becomes the test's."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command} exited {done.returncode}:\n{done.stdout}{done.stderr}"
    return str(done.stdout)


def pip_installed(folder: Path, *what: str) -> Path:
    offline = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "install", "-q", *offline, "--target", str(folder), *what)
    return folder


def in_fresh_interpreter(site: Path, code: str) -> str:
    """What ``code`` prints in an interpreter that looks into ``site`` first, from inside it."""
    first = f"import site, sys; before = list(sys.path); site.addsitedir({str(site)!r}); "
    order = "sys.path[:] = [p for p in sys.path if p not in before] + before\n"
    return run(sys.executable, "-I", "-c", first + order + code, cwd=site)


def files_in_wheel(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def files_in_tree(tree: Path) -> dict[str, bytes]:
    """The files a wheel should hold, under the names they should have there."""
    folders = [(tree / "src/clin_edge", "clin_edge")]
    folders += [(tree / side, f"clin_edge/{side}") for side in SIDES]
    files = {}
    for folder, name in folders:
        for path in sorted(folder.rglob("*")):
            inside = PurePosixPath(name, *path.relative_to(folder).parts)
            if path.is_file() and not path.is_symlink() and "__pycache__" not in inside.parts:
                files[str(inside)] = path.read_bytes()
    return files


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(
    tree: Path, wheel: Path
) -> None:
    package = {
        name: data for name, data in files_in_wheel(wheel).items() if ".dist-info/" not in name
    }
    expected = files_in_tree(tree)
    assert sorted(package) == sorted(expected)
    assert package == expected


def test_the_top_of_the_wheel_is_one_package(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in files_in_wheel(wheel)}
    assert tops == {"clin_edge", f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info"}


@pytest.mark.parametrize(
    ("folder", "suffix"),
    [
        ("clin_edge/runtime/samples", ".txt"),
        ("clin_edge/distill/recipes", ".toml"),
        ("clin_edge/distill/prompts", "/ner-1.toml"),
        ("clin_edge/distill/teachers/llm", "/prices.toml"),
    ],
)
def test_the_wheel_holds_the_data_of_the_package(wheel: Path, folder: str, suffix: str) -> None:
    names = files_in_wheel(wheel)
    assert any(name.startswith(f"{folder}/") and name.endswith(suffix) for name in names)
    assert "clin_edge/py.typed" in names


def test_the_wheel_carries_its_licence_and_its_command(wheel: Path) -> None:
    files = files_in_wheel(wheel)
    (info,) = {name.split("/")[0] for name in files} - {"clin_edge"}
    assert files[f"{info}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    scripts = configparser.ConfigParser()
    scripts.read_string(files[f"{info}/entry_points.txt"].decode())
    assert dict(scripts["console_scripts"]) == {"clin-edge": "clin_edge.cli:main"}


def test_the_sdist_holds_the_project_without_links_and_leftovers(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert [member.name for member in members if not (member.isfile() or member.isdir())] == []
    names = {member.name.partition("/")[2] for member in members}
    assert names.isdisjoint(LEFTOVERS)
    assert not any("leftover" in name for name in names)
    assert {"Makefile", "LICENSE", "CONTRIBUTING.md", ".ci/run", "tests/test_layout.py"} <= names


def test_a_wheel_from_the_sdist_is_the_wheel_from_the_tree(
    wheel: Path, sdist: Path, tmp_path: Path
) -> None:
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):  # Debian 12's Python is older than that
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(tmp_path)
    (unpacked,) = tmp_path.iterdir()
    assert files_in_wheel(built(unpacked, "wheel")) == files_in_wheel(wheel)


@pytest.mark.parametrize("side", SIDES)
def test_an_installed_wheel_has_no_bare_sides(installed: Path, side: str) -> None:
    origin = in_fresh_interpreter(
        installed,
        "from importlib.util import find_spec\n"
        f"assert find_spec({side!r}) is None, find_spec({side!r})\n"
        f"print(find_spec('clin_edge.{side}').origin)",
    )
    assert Path(origin.strip()) == installed / "clin_edge" / side / "__init__.py"


def test_the_installed_command_runs_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(installed)}
    said = run(sys.executable, "-m", "clin_edge", "--help", cwd=tmp_path, env=env)
    assert "extract" in said
    assert list(tmp_path.iterdir()) == []


def test_an_editable_install_maps_to_the_tree(tree: Path, tmp_path: Path) -> None:
    site = pip_installed(tmp_path, "--editable", str(tree))
    for side in SIDES:
        origin = in_fresh_interpreter(
            site,
            "from importlib.util import find_spec\n"
            f"assert find_spec({side!r}) is None, find_spec({side!r})\n"
            f"print(find_spec('clin_edge.{side}').origin)",
        )
        assert Path(origin.strip()).resolve() == tree / side / "__init__.py"


@pytest.mark.parametrize("side", SIDES)
def test_the_links_are_links(side: str) -> None:
    link = ROOT / "src/clin_edge" / side
    if not link.exists():  # an unpacked sdist
        pytest.fail(f"{link} is missing: {side} cannot be imported from here")
    assert link.resolve() == ROOT / side
