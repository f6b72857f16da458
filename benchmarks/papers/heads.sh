#!/usr/bin/env bash
# Paper B's grid (arXiv 2210.12770): {pre-trained, from scratch} x {linear, CRF} x {full, SamBD} on
# medications and their attributes, several seeds; and a learning curve.
#
#   benchmarks/papers/heads.sh DATA ENCODER OUT
#
# DATA has labelled/ as `make model` expects; ENCODER is a pre-trained encoder's folder; OUT is made.
# Scored on maccrobat2020 dev and phee2 dev, which chose nothing. Run again after a stop, it goes on
# where it was; SEEDS, STARTS, HEADS and CURVES take a part of it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$(realpath "$1") encoder=$(realpath "$2") out=$3
mkdir -p "$out" && cd "$out"

head -n 80 "$data/labelled/maccrobat2020/train.jsonl" >maccrobat2020.jsonl
head -n 600 "$data/labelled/phee2/train.jsonl" >phee2.jsonl

learn() { # START HEAD OUT MORE…: unless it is there
	local from=$encoder recipe=heads.toml
	[ "$1" = scratch ] && from=scratch recipe=heads-scratch.toml
	[ -e "$3" ] || clin-edge distill maccrobat2020.jsonl phee2.jsonl --recipe "$here/$recipe" \
		--student "$from" --head "$2" -o "$3" "${@:4}"
}
for seed in ${SEEDS:-1 2 3}; do
	for start in ${STARTS:-pretrained scratch}; do
		for head in ${HEADS:-linear crf}; do
			learn $start $head grid/$start-$head-full-$seed --seed $seed
			learn $start $head grid/$start-$head-sambd-$seed --seed $seed --keep-empty 0.08
		done
	done
	for start in ${CURVES-pretrained scratch}; do
		epochs=3
		[ $start = scratch ] && epochs=8
		for part in 10 4 2; do # of the notes, seen as often as makes the same number of steps
			share=$(awk "BEGIN { print 1 / $part }")
			learn $start linear curve/$start-$share-$seed \
				--seed $seed --share $share --epochs $((part * epochs))
		done
	done
done
