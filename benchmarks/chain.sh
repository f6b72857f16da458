#!/usr/bin/env bash
# From terminologies alone to a bundle, and teacher and student on the same gold.
#
#   benchmarks/chain.sh DATA ENCODER OUT
#
# DATA has labelled/bc5cdr and terms/ as `make model` expects; ENCODER is an encoder's folder; OUT is
# made. No human label is learnt from: the text of bc5cdr's train and dev documents is labelled by
# the terminologies. About half an hour on two cores.
set -euo pipefail
data=$1 encoder=$2 out=$3
gold=$data/labelled/bc5cdr
map="DISEASE=DISEASE|SYMPTOM"
mkdir -p "$out"

clin-edge label "$gold/train.jsonl" "$gold/dev.jsonl" -o "$out/silver" \
	--teacher "rxnorm:$data/terms/rxnorm_layout" --teacher "snomed:$data/terms/snomed_layout"
clin-edge label "$gold/test.jsonl" -o "$out/teacher" \
	--teacher "rxnorm:$data/terms/rxnorm_layout" --teacher "snomed:$data/terms/snomed_layout"
for teacher in rxnorm snomed; do
	clin-edge evaluate "$out/teacher/$teacher.jsonl" "$gold/test.jsonl" --map "$map" --json >"$out/$teacher.json"
done

clin-edge distill "$out"/silver/*.jsonl --student "$encoder" -o "$out/student" \
	--epochs "${EPOCHS:-2}" --learning-rate 2e-4
clin-edge export "$out/student" --int8 --calibrate "$gold/dev.jsonl" -o "$out/bundle"
clin-edge evaluate "$out/bundle" "$gold/test.jsonl" --map "$map" --json >"$out/student.json"
for who in rxnorm snomed student; do
	echo "== $who"
	python -c 'import json, sys
for label, row in json.load(open(sys.argv[1]))["strict"]["labels"].items():
    shown = "P {precision:.3f}  R {recall:.3f}  F1 {f1:.3f}".format(**row)
    print(f"  {label:<16} {shown}")' "$out/$who.json"
done
