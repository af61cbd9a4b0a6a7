# Every target sets up what it needs; a second run does no work again.
PORT ?= 7071
DATA ?= .data
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Where containers forbid it, each process would compile all modules again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install serve serve-azurite test test-fast check fmt bench rebuild-index watch-operation package clean

install: $(STAMP)

$(STAMP): requirements.txt pyproject.toml .python-version
	@PYTHON=$$(for candidate in "$$PYTHON" python$$(cat .python-version) $$(ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$(cat .python-version)*/bin/python 2>/dev/null) python3; do \
	    "$$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null && echo "$$candidate" && break; done); \
	test -n "$$PYTHON" || { echo "Python $$(cat .python-version) is needed (pyenv install $$(cat .python-version))" >&2; exit 1; }; \
	test -x $(BIN)/python || "$$PYTHON" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt --group dev
	@touch $@

# Files and SQLite, unless the shell says otherwise: local.settings.json is for Core Tools as well.
serve: export DATA_STORAGE := $(DATA_STORAGE)
serve: $(STAMP)
	@$(BIN)/python -m localhost --port $(PORT) --data $(DATA) --workers $(WORKERS)

# The storage emulator instead of files, which needs Node.js; its data are kept in $(DATA)/azurite.
serve-azurite: $(STAMP)
	@$(BIN)/python -m localhost --azurite --port $(PORT) --data $(DATA) --workers $(WORKERS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --num-workers auto
	$(BIN)/lint-imports --cache-dir .cache/import-linter

fmt: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# More at once than there are cores, as each waits for much: disks, timers, servers that start.
# The emulator, which only the second half needs, is installed during the first.
test: AT_ONCE = $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) * 3 / 2 )))
test: $(STAMP)
	@$(BIN)/python -c 'from localhost.azurite import installed; installed()' & \
	$(BIN)/pytest -q -n $(AT_ONCE) -m "not host"
	$(BIN)/pytest -q -n $(AT_ONCE) --dist loadfile --no-loadscope-reorder -m host

test-fast: $(STAMP)
	$(BIN)/pytest -q -n auto -m "not host and not slow"

# What is about SQLite alone is left out.
test-mssql: $(STAMP)
	@test -n "$$DICOM_TEST_MSSQL_URL" || { echo "set DICOM_TEST_MSSQL_URL to the SQLAlchemy URL of a database that may be emptied (docs/sql-server.md)" >&2; exit 1; }
	$(BIN)/pytest -q $(filter-out %_writer.py %_plans.py, $(wildcard tests/contracts/test_index_*.py)) \
	    tests/contracts/test_state_table.py tests/contracts/test_lost_replies.py

bench: $(STAMP)
	$(BIN)/python -m bench $(BENCH)

rebuild-index: $(STAMP)
	@$(BIN)/python -m shared.rebuild_index --data $(DATA)

# Follows a long-running operation to its end: ID=<its id or address> [URL=http://127.0.0.1:7071/v2].
watch-operation: $(STAMP)
	@test -n "$(ID)" || { echo "set ID to the operation's id or address" >&2; exit 1; }
	@$(BIN)/python -m infra.watch_operation --url '$(or $(URL),http://127.0.0.1:$(PORT)/v2)' '$(ID)'

package: $(STAMP)
	@$(BIN)/python -m infra.package

clean:
	rm -rf $(VENV) .cache
