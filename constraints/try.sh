#!/usr/bin/env bash
# Installs a wheelhouse as a hospital would, in an empty network namespace, and reads notes there.
#     constraints/try.sh [WHEELHOUSE]
# Linux only; needs util-linux's unshare, and leave to use it (root, or user namespaces allowed).
# PYTHON=... names the Python to use.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
wheelhouse=$(realpath "${1:-build/wheelhouse}")

if [ -z "${CLIN_EDGE_ALONE:-}" ]; then
    [ "$(id -u)" = 0 ] && flags=-n || flags=-rn
    CLIN_EDGE_ALONE=1 exec unshare $flags "$0" "$wheelhouse"
fi
if [ "$(grep -c : /proc/net/dev)" != 1 ]; then
    echo 'try.sh: this namespace has more than a loopback' >&2
    exit 1
fi

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python=$place/venv/bin/python
clin_edge=$place/venv/bin/clin-edge
# --isolated: no configuration of this machine's pip helps.
pip_install() {
    "$python" -m pip --isolated --disable-pip-version-check install --quiet \
        --no-index --no-deps --require-hashes --find-links . "$@"
}

cd "$wheelhouse"
sha256sum --check --quiet SHA256SUMS
"${PYTHON:-python3}" -m venv "$place/venv"
SECONDS=0
pip_install -r runtime.txt
echo "installed in $SECONDS s, $(du -sm "$place/venv" | cut -f1) MB:"
"$python" -m pip --disable-pip-version-check list --format freeze

cd "$place"
$clin_edge demo -o records.jsonl | tail -n 2
$clin_edge verify >/dev/null
$clin_edge selftest
"$python" -c '
import openvino  # does not miss what was left out
from importlib.util import find_spec
left_out = ("openvino_telemetry", "huggingface_hub", "httpx", "requests")
found = [name for name in left_out if find_spec(name)]
assert not found, found'

# Is it complete for Windows too? pip answers from the hashes and tags, without running anything.
cd "$wheelhouse"
for tag in $(ls | sed -n 's/^openvino-.*-\(cp3[0-9]*\)-win_amd64.whl$/\1/p'); do
    pip_install -r runtime.txt -r sign.txt --only-binary :all: --platform win_amd64 \
        --implementation cp --python-version "${tag#cp}" --target "$place/$tag"
    echo "Windows, $tag: complete, $(du -sm "$place/$tag" | cut -f1) MB"
done
pip_install -r sign.txt
"$python" -c 'import cryptography, sys; print("all of it without a network, Python", sys.version.split()[0])'
