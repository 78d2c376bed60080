# Everything that is built or downloaded lives in a cache outside the clone; see README.md.
VACUOLE_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vacuole
CARGO_TARGET_DIR ?= $(VACUOLE_CACHE)/target
PYTHON ?= python3
export VACUOLE_CACHE CARGO_TARGET_DIR

.PHONY: help bench bench-long demo lint test test-long

help:
	@echo 'make demo   build the program, ingest 700 real cells, query them'
	@echo 'make test   lint, then the tests in Rust and in Python (against tiledbsoma)'
	@echo 'make test-long  random arrays, 1,000 that TileDB writes, 2,000 that we write, 1,000 that are joined, and stores of all older releases of tiledbsoma (an hour)'
	@echo 'make lint   cargo fmt and clippy'
	@echo 'make bench-long  a million cells, which needs 8 GB of disk and some minutes'
	@echo 'make bench  beside tiledbsoma, SLAF, s5cmd and rclone: time, memory, bytes, requests (ARGS=--quick: the small file only)'

demo:
	@$(PYTHON) demo/demo.py

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

# Examples are built too: some tests in Python run them. Workers are replaced where tiledbsoma takes one down; see crashes.py.
test: lint
	cargo test --workspace --locked
	cargo build --workspace --bins --examples --locked
	package=$$($(PYTHON) .ci/python_package.py) && \
	python=$$($(PYTHON) .ci/python_env.py tests/python/requirements.txt) && \
	PYTHONPATH="$$package" \
	VACUOLE_BIN="$(CARGO_TARGET_DIR)/debug/vacuole" \
	VACUOLE_BIN_DIR="$(CARGO_TARGET_DIR)/debug" \
	"$$python" -m pytest tests/python -q -n 2 --dist worksteal --max-worker-restart 200 --ignore-glob '*/test_inputs_*'
	python=$$($(PYTHON) .ci/python_env.py tests/python/requirements-inputs.txt) && \
	VACUOLE_TEST_WITHOUT_FILTERS=1 \
	VACUOLE_BIN="$(CARGO_TARGET_DIR)/debug/vacuole" \
	VACUOLE_BIN_DIR="$(CARGO_TARGET_DIR)/debug" \
	"$$python" -m pytest tests/python/test_inputs_*.py -q -n 2 --dist worksteal --max-worker-restart 200

test-long:
	cargo build --workspace --bins --examples --locked
	python=$$($(PYTHON) .ci/python_env.py tests/python/requirements.txt) && \
	VACUOLE_TEST_ARRAYS=1000 VACUOLE_TEST_RELEASES=all \
	VACUOLE_BIN="$(CARGO_TARGET_DIR)/debug/vacuole" \
	VACUOLE_BIN_DIR="$(CARGO_TARGET_DIR)/debug" \
	"$$python" -m pytest tests/python/test_odd_arrays.py tests/python/test_our_arrays.py tests/python/test_consolidate_modes.py tests/python/test_old_releases.py -q -n 2 --dist worksteal

bench:
	cargo build --release -p vacuole --locked
	@package=$$($(PYTHON) .ci/python_package.py --release) && \
	python=$$($(PYTHON) .ci/python_env.py bench/requirements.txt) && \
	"$$python" bench/bench.py --binary "$(CARGO_TARGET_DIR)/release/vacuole" --package "$$package" --cache "$(VACUOLE_CACHE)" $(ARGS)
	@python=$$($(PYTHON) .ci/python_env.py bench/transfer-requirements.txt) && \
	"$$python" bench/transfer.py --binary "$(CARGO_TARGET_DIR)/release/vacuole" $(if $(findstring --quick,$(ARGS)),--size 256 --files 500 --rounds 1)

bench-long:
	cargo build --release -p vacuole --locked
	@python=$$($(PYTHON) .ci/python_env.py bench/requirements.txt) && \
	"$$python" bench/long.py --binary "$(CARGO_TARGET_DIR)/release/vacuole" --cache "$(VACUOLE_CACHE)" $(ARGS)
