#!/usr/bin/env bash
# Five teachers, every subset of them merged and scored, and a student of the best beside them.
#
#   benchmarks/teachers.sh DATA ENCODER OUT [N]
#
# DATA has labelled/ and terms/ as `make model` expects; ENCODER is an encoder's folder; OUT is made.
# The two language models are played by a loopback server that answers from gold labels with planted
# errors (llm_answers.py) and misbehaves now and then: their scores say nothing about any real
# model, the way through does. The notes are those of bc5cdr's train and dev and maccrobat2020's
# train documents (the first N of each file, if N is given); the best subset is chosen on the gold
# of bc5cdr dev and maccrobat2020 train, on half of these notes, and scored again on the other half.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$1 encoder=$2 out=$3 first=${4:-1000000}
map="DISEASE=DISEASE|SYMPTOM"
clinical=MEDICATION,DISEASE,SYMPTOM,DOSAGE,ROUTE,FREQUENCY,DURATION
mkdir -p "$out/notes" "$out/silver" "$out/test"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

for set in bc5cdr/train bc5cdr/dev bc5cdr/test maccrobat2020/train maccrobat2020/dev; do
	head -n "$first" "$data/labelled/$set.jsonl" >"$out/notes/${set/\//-}.jsonl"
done
cd "$out"
# Gold in one file; where a set does not tell diseases from symptoms, its labels say so.
gold() {
	python -c 'import json, sys
from clin_edge.core.labelled import labelled_json, parse_map, read_labelled
for word in sys.argv[1:]:
    path, _, renames = word.partition("@")
    for item in read_labelled(path, parse_map(renames.split())):
        print(labelled_json(item))' "$@"
}
gold "notes/bc5cdr-dev.jsonl@$map" notes/maccrobat2020-train.jsonl >choose.jsonl
gold "notes/bc5cdr-test.jsonl@$map" notes/maccrobat2020-dev.jsonl >test.jsonl

serve() { # NAME SEED RATES…: a language model that does not exist
	local name=$1 seed=$2
	shift 2
	python "$here/llm_answers.py" notes/*.jsonl --seed "$seed" "$@" >"$name.answers.jsonl" 2>"$name.planted.json"
	rm -f "$name.port"
	python "$here/../tests/llm_server.py" --answers "$name.answers.jsonl" --port-file "$name.port" \
		--misbehave-every 9 truncated fenced rate_limit_ms thought reset server_error top_null no_usage cut_short wrong_types &
	while [ ! -s "$name.port" ]; do sleep 0.1; done
}
serve big 1 --omit 0.10 --once 0.3 --confuse 0.04 --shift 0.06 --misspell 0.08 --unclear 0.08 --invent 0.04
serve small 2 --omit 0.22 --once 0.4 --confuse 0.10 --shift 0.10 --misspell 0.12 --unclear 0.12 --invent 0.12

ask() { # OUT LABELS NOTES…
	local into=$1 labels=$2
	shift 2
	clin-edge label "$@" -o "$into" --labels "$labels" --cache "$into-replies" --occurrences "${OCCURRENCES:-all}" \
		--teacher "openai:gpt-4o@http://127.0.0.1:$(cat big.port)/v1" \
		--teacher "gemini:gemini-2.0-flash@http://127.0.0.1:$(cat small.port)" || [ $? -eq 8 ]
}
rules() { # OUT NOTES…
	local into=$1
	shift
	clin-edge label "$@" -o "$into" --teacher "rxnorm:$data/terms/rxnorm_layout" \
		--teacher "snomed:$data/terms/snomed_layout" --teacher sig
}
for split in silver test; do
	if [ $split = silver ]; then abstracts="notes/bc5cdr-train.jsonl notes/bc5cdr-dev.jsonl" reports=notes/maccrobat2020-train.jsonl
	else abstracts=notes/bc5cdr-test.jsonl reports=notes/maccrobat2020-dev.jsonl; fi
	ask $split-abstracts MEDICATION,DISEASE $abstracts
	ask $split-reports $clinical $reports
	rules $split $abstracts $reports
	for teacher in openai-gpt-4o gemini-gemini-2.0-flash; do
		cat $split-abstracts/$teacher.jsonl $split-reports/$teacher.jsonl >$split/$teacher.jsonl
	done
done

clin-edge merge silver/*.jsonl -o silver.jsonl --gold choose.jsonl --best --report merge.json
# The same teachers and rule on the test notes: the teacher that the student is set beside.
read -r rule files < <(python -c 'import json
choice = json.load(open("merge.json"))["choice"]
print(choice["rule"], *(f"test/{name}.jsonl" for name in choice["teachers"]))')
clin-edge merge $files -o merged-test.jsonl --rule "$rule"
clin-edge distill silver.jsonl --student "$encoder" -o student --epochs "${EPOCHS:-3}" --learning-rate 2e-4
clin-edge export student --int8 --calibrate notes/bc5cdr-dev.jsonl -o bundle

for who in test/*.jsonl merged-test.jsonl bundle; do
	for set in bc5cdr-test maccrobat2020-dev; do
		renames=$([ $set = bc5cdr-test ] && echo "$map" || echo none=none)
		clin-edge evaluate "$who" notes/$set.jsonl --map "$renames" --json >"score-$(basename "$who" .jsonl)-$set.json" || true
	done
done
