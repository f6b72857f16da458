#!/usr/bin/env bash
# Paper A's claim (arXiv 2501.00031): ontology teacher, student of it, student of the best merge,
# student of human labels; same encoder, same settings.
#
#   benchmarks/papers/distillation.sh DATA ENCODER OUT
#
# DATA has labelled/ and terms/ as `make model` expects; ENCODER is an encoder's folder; OUT is made.
# Teachers: the RxNorm and SNOMED layouts (the ontology teacher is both), DrugBank, MeSH, and the
# Disease, Symptom and Human Phenotype Ontologies as one. No language model: none can be reached.
# The best merge is chosen on gold of bc5cdr dev, ncbi_disease dev and maccrobat2020 train; scores
# are of bc5cdr test, ncbi_disease test and maccrobat2020 dev, none of which chose anything. Nor did
# the external sets, biored dev and chia dev. Run again after a stop, it goes on where it was.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$(realpath "$1") encoder=$(realpath "$2") out=$3
either="DISEASE=DISEASE|SYMPTOM"
mkdir -p "$out" && cd "$out"

once() { # FILE COMMAND…: run what makes FILE unless it is there
	[ -e "$1" ] || "${@:2}"
}
gold_of() { # SET: its gold, where it does not tell diseases from symptoms saying so
	local renames=$([[ $1 = maccrobat2020/* ]] && echo none=none || echo "$either")
	python -c 'import sys
from clin_edge.core.labelled import keep_labels, labelled_json, parse_map, read_labelled
items = read_labelled(sys.argv[1], parse_map([sys.argv[2]]))
for item in keep_labels(items, ("MEDICATION", "DISEASE", "SYMPTOM")):
    print(labelled_json(item))' "$(place "$1")" "$renames"
}
label() { # SET
	clin-edge label "$(place "$1")" -o "labels/$1" --settings "$here/terms.toml" \
		--teacher "rxnorm:$data/terms/rxnorm_layout" --teacher "snomed:$data/terms/snomed_layout" \
		--teacher "terms:$flat/drugbank_vocabulary.tsv" --teacher "terms:$flat/mesh_2016_descriptors.tsv" \
		--teacher "terms:$flat/doid_2026labels.tsv,$flat/symp_2026.tsv,$flat/hpo_2023labels.tsv"
}
flat=$data/terms/flat

# The first 300 abstracts of ncbi_disease's 592, and 80 reports of maccrobat2020's 136: for time.
mkdir -p notes/ncbi_disease notes/maccrobat2020
head -n 300 "$data/labelled/ncbi_disease/train.jsonl" >notes/ncbi_disease/train.jsonl
head -n 80 "$data/labelled/maccrobat2020/train.jsonl" >notes/maccrobat2020/train.jsonl
place() { # SET: its file
	[ -e "notes/$1.jsonl" ] && echo "notes/$1.jsonl" || echo "$data/labelled/$1.jsonl"
}
for set in {bc5cdr,ncbi_disease}/{train,dev,test} maccrobat2020/{train,dev} biored/dev chia/dev; do
	mkdir -p "gold/${set%/*}"
	[ -e "gold/$set.jsonl" ] || gold_of "$set" >"gold/$set.jsonl"
	once "labels/$set" label "$set"
done
declare -A choose=([bc5cdr]=dev [ncbi_disease]=dev [maccrobat2020]=train)
declare -A test=([bc5cdr]=test [ncbi_disease]=test [maccrobat2020]=dev)
declare -A tasks=([bc5cdr]="MEDICATION DISEASE,SYMPTOM" [ncbi_disease]=DISEASE,SYMPTOM [maccrobat2020]="MEDICATION DISEASE,SYMPTOM")

merge() { # CORPUS LABELS: choose on gold, then merge the same teachers by the same rule on train and test
	local corpus=$1 labels=$2 split rule files
	clin-edge merge "labels/$corpus/${choose[$corpus]}"/*.jsonl -o "merge-$corpus-$labels.jsonl" --best \
		--gold "gold/$corpus/${choose[$corpus]}.jsonl" --labels "$labels" --report "merge-$corpus-$labels.json"
	for split in train "${test[$corpus]}"; do
		read -r rule files < <(python -c 'import json, sys
choice = json.load(open(sys.argv[1]))["choice"]
print(choice["rule"], *(f"{sys.argv[2]}/{name}.jsonl" for name in choice["teachers"]))' \
			"merge-$corpus-$labels.json" "labels/$corpus/$split")
		clin-edge merge $files -o "silver-$corpus-$split-$labels.jsonl" --rule "$rule" --labels "$labels"
	done
}
for corpus in bc5cdr ncbi_disease maccrobat2020; do
	for labels in ${tasks[$corpus]}; do # a combination a task, as in the paper
		once "merge-$corpus-$labels.json" merge $corpus $labels
	done
done
learn() { # CORPUS ARM FILES…
	clin-edge distill "${@:3}" --recipe "$here/distillation.toml" --student "$encoder" -o "student-$1-$2"
}
for corpus in ${CORPORA:-bc5cdr ncbi_disease maccrobat2020}; do # two halves may run side by side
	for arm in ${ARMS:-ontology merge gold}; do
		case $arm in
		ontology) files="labels/$corpus/train/rxnorm.jsonl labels/$corpus/train/snomed.jsonl" ;;
		merge) files=$(ls silver-$corpus-train-*.jsonl) ;;
		gold) files=gold/$corpus/train.jsonl ;;
		esac
		once "student-$corpus-$arm" learn $corpus $arm $files
	done
done
