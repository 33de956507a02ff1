# Two commands matter: `make demo` and `make test`. Each first brings what is missing (deploy/setup.sh).
# ARGS goes to the command behind a target:  make demo ARGS="--claims 5000 --keep"

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-api test-faults test-planted soak simulate simulate-planted lint bench bench-full bench-growth stop lock clean bench-engine fuzz audit-deps
ARGS ?=
SEEDS ?= 1000

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## bring what is missing: system packages, Python packages, Kafka's jars
	@deploy/setup.sh

demo: setup ## settle a generated day of claims on real servers, and audit the books
	@.venv/bin/gongji demo $(ARGS)

# Brokers that live for seconds: the JVM's second compiler would never pay for itself.
test: setup ## all tests, on servers and data of their own
	@JDK_JAVA_OPTIONS="-XX:TieredStopAtLevel=1 $$JDK_JAVA_OPTIONS" GONGJI_HOME=$(CURDIR)/.gongji/test .venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-faults: setup ## every fault on real servers under load, one by one; writes deploy/faults.md (half an hour)
	@GONGJI_HOME=$(CURDIR)/.gongji/test .venv/bin/python -m pytest tests/faults tests/integration/test_counter_many.py -m "" -k "not soak and not one_after_the_other" --show-capture=no \
	  --faults-table deploy/faults.md $(ARGS)

test-planted: setup ## take each safety out of a copy of the tree, see its test fail; writes deploy/planted.md
	@.venv/bin/python tests/planted/run.py deploy/planted.md

HOURS ?= 1
soak: setup ## faults at random under load for HOURS=1 (SEED=n: the same again)
	@GONGJI_HOME=$(CURDIR)/.gongji/test .venv/bin/python -m pytest tests/faults/test_soak.py -m "" --show-capture=no -s \
	  --hours $(HOURS) $(if $(SEED),--soak-seed $(SEED)) $(ARGS)

test-api: setup ## the counter under many more made-up requests, and a million lines in one stream
	@GONGJI_HOME=$(CURDIR)/.gongji/test GONGJI_TEST_EXAMPLES=2000 GONGJI_TEST_LINES=1000000 .venv/bin/python -m pytest \
	  tests/integration/test_counter_strangers.py $(ARGS)

fuzz: setup ## bad input at volume: make fuzz RECORDS=100000 SEED=7
	@GONGJI_HOME=$(CURDIR)/.gongji/test GONGJI_FUZZ_RECORDS=$(or $(RECORDS),100000) GONGJI_FUZZ_SEED=$(or $(SEED),1) \
	  .venv/bin/python -m pytest -s tests/integration/test_fuzz.py $(ARGS)

lint: setup ## ruff, mypy, import-linter
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	MYPYPATH=tests .venv/bin/mypy services shared deploy tests
	.venv/bin/lint-imports --no-logo

simulate: setup ## SEEDS=10000 runs of the whole path in one process with faults from a seed, or one run with its trace: SEED=123
	@PYTHONPATH=tests .venv/bin/python -m simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

simulate-planted: setup ## takes out each safety of the loop, and looks for the seed that notices
	@PYTHONPATH=tests .venv/bin/python -m simulation --planted --seeds $(SEEDS) $(ARGS)

audit-deps: setup ## ask the advisory service about every locked version; says plainly when it does not answer
	@deploy/audit_deps.sh

bench: setup ## the benchmark, short: a minute of steady load
	@.venv/bin/gongji bench $(ARGS)

bench-full: setup ## the benchmark as it is reported: ten minutes steady, 200,000 drained; a page in deploy/benchmarks/
	@.venv/bin/gongji bench --minutes 10 --backlog 200000 --members 100000 --report deploy/benchmarks/$(shell date +%F)-full.md $(ARGS)

bench-growth: setup ## how cost grows: the short benchmark again with one thing changed at a time (about an hour)
	@.venv/bin/gongji bench --growth all $(ARGS)

bench-engine: setup ## the engine alone, side by side with reading the same claim
	@.venv/bin/gongji policy speed

stop: ## stop the local servers; their data stays
	@.venv/bin/gongji servers down

lock: setup ## write deploy/requirements.lock anew from pyproject.toml
	@deploy/lock.sh

clean: ## stop the local servers; remove their data, the environment and the caches
	@[ ! -x .venv/bin/python ] || .venv/bin/python -c \
	  'from deploy.local.servers import erase; from shared.runtime.settings import home_directory; erase(home_directory())'
	rm -rf .gongji .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info deploy/local/kafka/lib
