#!/usr/bin/env bash
# The self-test, and the spans of two short notes, on CPUs that qemu emulates.
#
#     benchmarks/emulated.sh QEMU [BUNDLE [OUT.json]]
#
# QEMU is a qemu-x86_64-static (Debian: qemu-user-static; 7.2 emulates up to AVX2). PYTHON names the
# interpreter. Besides BUNDLE (default: the package's), two bundles made to overflow the 16-bit sums
# of CPUs without VNNI are tried, with the overflow fix and without.
set -euo pipefail
qemu=$1 bundle=${2:-} out=${3:-}
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1 CLIN_EDGE_THREADS=1
PYTHONPATH="$root/tests" "$python" -m saturating "$work" >&2
"$python" "$root/benchmarks/emulated.py" "$qemu" "$work"/*able \
    ${bundle:+--bundle "$bundle"} ${out:+-o "$out"}
