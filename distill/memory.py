"""How the C library gives memory back: while a model learns, better not at all."""

from __future__ import annotations

import ctypes

# Of malloc.h in the GNU C library.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_MOST = 2**31 - 1


def keep_freed_memory() -> None:
    """Let freed memory wait in the process for its next use; without the GNU C library do nothing.

    Each step of training frees hundreds of large tensors and asks for the same again. By default
    each is a mapping of its own, whose pages the kernel must clear anew.
    """
    mallopt = getattr(_c_library(), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _MOST)


def _c_library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows has no library of that name
        return None
