# Everything starts from a clean checkout with nothing but python3; see README.md.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile  # what a file compiles is compiled once
DEMO := specs/digits.lee

.PHONY: demo test check-all bench clean

demo: .venv/demo
	@echo "\n== $(DEMO): is it right?"
	$(BIN)/leec check $(DEMO)
	@echo "\n== two programs from it: a NumPy reference and PyTorch code"
	$(BIN)/leec compile $(DEMO) -o generated
	@echo "\n== do both compute the same?"
	$(BIN)/leec verify $(DEMO)
	@echo "\n== train it with the NumPy program"
	$(BIN)/leec train $(DEMO) --backend numpy
	@echo "\nNext: read generated/digits/reference.py beside $(DEMO); change a layer in the spec and run"
	@echo "  $(BIN)/leec train $(DEMO) --backend torch"
	@echo "or begin a spec of your own with: $(BIN)/leec new my_model --lesson mlp"

test: .venv/dev
	$(PYTEST)

# Also what takes minutes: mutations of every op row, 10,000 mutated specs, trained systems, the built wheel.
check-all: .venv/dev
	$(BIN)/ruff check leec tests benchmarks
	$(BIN)/black --quiet --check leec tests benchmarks
	$(PYTEST) -m "slow or not slow"

bench: .venv/dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv .pytest_cache .hypothesis .ruff_cache .mypy_cache build dist

# torch first and pinned, so that nothing later chooses another build of it.
.venv/demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) -e ".[torch,data]"
	@touch $@

.venv/dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) -e ".[dev]"
	@touch $@
