# Two commands: `make demo` and `make test`. Each sets up all that it needs, once.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types unit coverage wheel clean

DEMO := build/demo
SMALL := --model v2-small --set stages.0.depth=1 --set stages.1.depth=1

demo: $(VENV)/.installed
	@mkdir -p $(DEMO)
	$(BIN)/s2mlp count --model v2-medium -o $(DEMO)/count.json
	$(BIN)/s2mlp profile --shift all $(SMALL) --level model --min-time 0.2 --max-time 1 \
		-o $(DEMO)/profile.json
	$(BIN)/s2mlp validate --ckpt sample -o $(DEMO)/validate.json
	for precision in fp32 int8; do \
		mkdir -p $(DEMO)/$$precision && \
		$(BIN)/s2mlp export --ckpt sample --precision $$precision -o $(DEMO)/$$precision.onnx \
			--record $(DEMO)/$$precision/export.json && \
		$(BIN)/s2mlp profile --ckpt $(DEMO)/$$precision.onnx --batch-size 64 --max-time 1 \
			-o $(DEMO)/$$precision/profile.json && \
		$(BIN)/s2mlp validate --ckpt $(DEMO)/$$precision.onnx --data s2mlp_cli/sample/digits.tar \
			-o $(DEMO)/$$precision/validate.json \
			--predictions $(DEMO)/$$precision/predictions.csv || exit 1; \
	done
	$(BIN)/s2mlp compare $(DEMO)/fp32 $(DEMO)/int8
	$(BIN)/s2mlp report $(DEMO)/count.json $(DEMO)/profile.json $(DEMO)/validate.json \
		-o $(DEMO)/report.html
	@echo "The three reports as one page: $(DEMO)/report.html"

test: lint types unit

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

unit: $(VENV)/.installed-test
	$(BIN)/python -m pytest -rs -n auto --dist loadfile

coverage: $(VENV)/.installed-test
	$(BIN)/coverage run -m pytest -n auto --dist loadfile
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

wheel: $(VENV)/.installed-test
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# The stamps are newer than pyproject.toml once its dependencies are installed: repeat calls do nothing.
$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[runtimes]'
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis
