# Bakehouse: `make venv` once, then `make demo`, `make console`, `make test`, `make lint`, `make bench`.
# Tests in lanes (tests/lanes.py): `make test-fast`, `make test-process`, `make test-train`; `make test` is all three, `make soak`
# what takes long, before a release; `make test-compat` runs the fast lane with the oldest and the newest of what the console
# needs (VERSIONS=oldest, VERSIONS=newest: one of them). Each takes TESTS=…, which is handed to pytest.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Which torch: empty takes what the configured package index gives for the pin in constraints.txt; another index, such as
# https://download.pytorch.org/whl/cpu or …/whl/rocm7.1, is asked for torch only.
TORCH_INDEX ?=
TORCH       ?= torch==2.13.0
STAMP  := $(VENV)/.installed
# One stamp for each choice of torch, so that another index really brings another build.
TORCH_STAMP := $(VENV)/.torch-$(shell printf '%s' '$(TORCH) $(TORCH_INDEX)' | cksum | tr -d ' ')

.PHONY: venv demo console test test-fast test-process test-train test-compat soak lint bench clean

venv: $(STAMP)

# torch comes first and by itself, so that nothing that needs "some torch" can pull in another build of it.
$(TORCH_STAMP):
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(if $(wildcard $(VENV)/.torch-*),--force-reinstall) "$(TORCH)" \
	    $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	rm -f $(VENV)/.torch-*
	touch $@

$(STAMP): $(TORCH_STAMP) pyproject.toml constraints.txt
	DISABLE_CUDA=1 $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,hqq,test,lint]'
	touch $@

demo: venv
	$(BIN)/bakehouse demo $(DEMO)

console: venv
	$(BIN)/bakehouse

test: venv
	$(BIN)/python -m tests.lanes fast process train -- $(TESTS)

test-fast test-process test-train: test-%: venv
	$(BIN)/python -m tests.lanes $* -- $(TESTS)

# With the oldest and with the newest of what the console needs, in environments of their own, without torch.
test-compat:
	$(PYTHON) -m tests.compat $(VERSIONS) -- $(TESTS)

soak: venv
	$(BIN)/python -m tests.lanes soak-properties soak-long soak-train soak-timed -- $(TESTS)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: venv
	$(BIN)/python -m tests.bench

clean:
	rm -rf $(VENV) .venv-oldest .venv-newest build dist .pytest_cache .mypy_cache .ruff_cache
