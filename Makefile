# make demo, make test: each sets up .venv by itself and is quick the second time.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
export TF_CPP_MIN_LOG_LEVEL ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-slow lint clean

help:
	@echo "make demo   train a convnet on scikit-learn's handwritten digits (no download)"
	@echo "make test   the tests, offline"
	@echo "make test-slow   the long ones: runs killed many times, several machines"
	@echo "make lint   ruff, with the settings of pyproject.toml"
	@echo "make clean  remove .venv"

$(VENV)/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 demo" >&2; exit 2; }
	@echo "setting up $(VENV) (about a minute, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet -r requirements.txt
	@touch $@

demo: $(VENV)/installed
	@$(RUN) -m recipes run convnet_mnist --rung 5 --data digits --epochs 8
	@echo
	@echo "That was rung 5 of the ladder on 1,257 real handwritten digits. Open the report.html above; then, on MNIST:"
	@echo "  $(VENV)/bin/python -m recipes run convnet_mnist --rung 1     a minute, 97.8 % (downloads 11 MB)"
	@echo "  $(VENV)/bin/python -m recipes list                       all recipes"

test: $(VENV)/installed
	@$(RUN) -m pytest -n 2 --dist loadfile
	@echo
	@echo "The tests passed. Next: make demo, or $(RUN) -m recipes list"

test-slow: $(VENV)/installed
	@$(RUN) -m pytest -m slow

lint: $(VENV)/installed
	@$(RUN) -m pip install --quiet 'ruff>=0.14,<1'
	@$(RUN) -m ruff check .

clean:
	rm -rf $(VENV)
