"""The file of a CRF's tables: the same bytes each time, and nothing else is taken for it."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable

import numpy as np
import pytest

from clin_edge.core.crf import CRF_FILE, CrfTables
from clin_edge.core.errors import BundleError
from toy import toy_crf

N_TAGS = 7
NAMES = ("transitions", "start", "end", "first_pieces", "constrained")
RAW = toy_crf().to_npz()


def members(raw: bytes = RAW) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def zipped(files: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def saved(**arrays: object) -> bytes:
    """What ``np.savez`` makes of the toy's tables, some of them exchanged."""
    out = io.BytesIO()
    np.savez(out, **{name: getattr(toy_crf(), name) for name in NAMES} | arrays)
    return out.getvalue()


@pytest.mark.parametrize("n_tags", [3, 7, 23, 101])
@pytest.mark.parametrize("rules", [(False, True), (True, False)])
def test_tables_come_back_as_they_were(n_tags: int, rules: tuple[bool, bool]) -> None:
    rng = np.random.default_rng(n_tags)
    shapes = ((n_tags, n_tags), (n_tags,), (n_tags,))
    tables = CrfTables(*(rng.normal(size=s).astype(np.float32) for s in shapes), *rules)
    raw = tables.to_npz()
    again = CrfTables.from_npz(raw, n_tags)
    for name in NAMES:
        table = getattr(again, name)
        assert np.array_equal(table, getattr(tables, name))
    assert again.transitions.dtype == again.start.dtype == again.end.dtype == np.float32
    assert type(again.first_pieces) is type(again.constrained) is bool
    assert again.to_npz() == raw


def test_the_bytes_depend_on_the_tables_alone(monkeypatch) -> None:
    fields = {name: getattr(toy_crf(), name) for name in NAMES}
    same = fields | {"transitions": np.asfortranarray(fields["transitions"])}
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert CrfTables(**same).to_npz() == toy_crf().to_npz() == RAW
    assert CrfTables(**fields | {"end": fields["start"]}).to_npz() != RAW
    assert CrfTables(**fields | {"constrained": False}).to_npz() != RAW


def test_numpy_reads_and_writes_the_same_file() -> None:
    with np.load(io.BytesIO(RAW), allow_pickle=False) as arrays:
        assert sorted(arrays) == sorted(NAMES)
        for name in NAMES:
            assert np.array_equal(arrays[name], getattr(toy_crf(), name))
    assert CrfTables.from_npz(saved(), N_TAGS).to_npz() == RAW
    assert members(saved()) == members()


@pytest.mark.parametrize(
    "changes",
    [
        {"transitions": np.zeros((7, 5), np.float32)},
        {"transitions": np.zeros((7, 7))},
        {"start": np.zeros(6, np.float32)},
        {"end": np.zeros((7, 1), np.float32)},
        {"end": np.zeros(7, np.int32)},
        {"start": np.full(7, np.nan, np.float32)},
        {"end": np.full(7, -np.inf, np.float32)},
        {"transitions": np.full((7, 7), np.inf, np.float32)},
    ],
)
def test_tables_that_do_not_fit_together_are_refused(changes: dict[str, np.ndarray]) -> None:
    fields = {name: getattr(toy_crf(), name) for name in NAMES} | changes
    with pytest.raises(ValueError, match="finite numbers in float32"):
        CrfTables(**fields)


def with_member(name: str, content: bytes) -> bytes:
    return zipped(members() | {f"{name}.npy": content})


def said_size(raw: bytes, size: int) -> bytes:
    """A zip whose directory says that its first member has ``size`` bytes."""
    at = raw.index(b"PK\x01\x02") + 20
    return raw[:at] + size.to_bytes(4, "little") * 2 + raw[at + 8 :]


def as_objects(**arrays: object) -> bytes:
    """Arrays that are pickled: reading them would run what is in them."""
    return saved(**{name: np.array(array, dtype=object) for name, array in arrays.items()})


WRONG: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no zip": lambda: b"not a zip",
    "cut short": lambda: RAW[:-1],
    "cut in the middle": lambda: RAW[: len(RAW) // 2],
    "too large": lambda: b"\0" * 100_000 + RAW,
    "a zip that unpacks to far more": lambda: zipped(
        members() | {"start.npy": members()["start.npy"] + b"\0" * 1_000_000},
        zipfile.ZIP_DEFLATED,
    ),
    "packed": lambda: zipped(members(), zipfile.ZIP_DEFLATED),
    "a size that is not so": lambda: said_size(RAW, 0x7FFF_FFFF),
    "no members": lambda: zipped({}),
    "one missing": lambda: zipped({n: c for n, c in members().items() if n != "end.npy"}),
    "one more": lambda: zipped(members() | {"more.npy": members()["end.npy"]}),
    "one outside": lambda: zipped(
        {n.replace("end", "../end"): c for n, c in members().items()},
    ),
    "another order": lambda: zipped(dict(reversed(members().items()))),
    "a pickle": lambda: as_objects(start=[{}] * N_TAGS),
    "a pickle by its old name": lambda: with_member("start", b"\x80\x04]\x94."),
    "float64": lambda: saved(start=np.zeros(N_TAGS)),
    "big-endian": lambda: saved(start=np.zeros(N_TAGS, ">f4")),
    "integers": lambda: saved(end=np.zeros(N_TAGS, np.int32)),
    "by columns": lambda: saved(transitions=np.asfortranarray(toy_crf().transitions)),
    "other shapes": lambda: saved(start=np.zeros(N_TAGS + 1, np.float32)),
    "a shape turned": lambda: saved(end=np.zeros((1, N_TAGS), np.float32)),
    "a rule that is a number": lambda: saved(constrained=np.uint8(1)),
    "a rule neither true nor false": lambda: with_member(
        "constrained", members()["constrained.npy"][:-1] + b"\2"
    ),
    "not a number": lambda: saved(start=np.full(N_TAGS, np.nan, np.float32)),
    "infinite": lambda: saved(transitions=np.full((N_TAGS, N_TAGS), np.inf, np.float32)),
    "fewer tags": lambda: saved(
        transitions=np.zeros((5, 5), np.float32),
        start=np.zeros(5, np.float32),
        end=np.zeros(5, np.float32),
    ),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_is_no_file_of_tables_is_refused_in_one_line(wrong: Callable[[], bytes]) -> None:
    with pytest.raises(BundleError) as caught:
        CrfTables.from_npz(wrong(), N_TAGS)
    message = str(caught.value)
    assert message.startswith(f"{CRF_FILE}: not the tables of a CRF over 7 tags; ")
    assert "\n" not in message
    assert caught.value.__suppress_context__


def test_any_change_gives_tables_or_the_one_error() -> None:
    draw = random.Random(1)
    outcomes = set()
    for _ in range(2000):
        raw = bytearray(RAW)
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(raw))
            raw[at : at + draw.choice([0, 1, 1, 1, 60])] = draw.randbytes(draw.choice([0, 1, 1, 9]))
        try:
            outcomes.add(type(CrfTables.from_npz(bytes(raw), N_TAGS)))
        except BundleError as error:
            outcomes.add(type(error))
    assert outcomes == {CrfTables, BundleError}
