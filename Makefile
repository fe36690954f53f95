# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test faults gpu label-studio vllm lint clean

demo: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" vistadpo demo

test: $(READY) lint
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# Kills, full disks and damaged files, for some minutes; every line says how many were tried and how many held.
faults: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 python -m pytest tests/faults -q

# What only GPUs can show, on those that are here, in parts that each write to gpu_out/: make gpu PARTS="tests bench"
gpu: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/gpu/run $(PARTS)

# The server that people review rows with, in an environment of its own: its pins (Pillow, openai, pyarrow) exclude the
# host's. Nothing needs it; with it, `make test` also goes the whole way through it.
label-studio:
	$(PYTHON) -m venv .venv-label-studio
	.venv-label-studio/bin/python -m pip install --quiet label-studio==1.23.2

# vLLM for a CPU, in an environment on top of ours. Nothing needs it; with it, `make test` also asks models through it.
vllm: $(READY)
	$(PYTHON) -m venv .venv-vllm
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> "$$(.venv-vllm/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/zz_below.pth"
	.venv-vllm/bin/python -m pip install --quiet --no-deps --requirement tests/evaluation/vllm_requirements.txt

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The tested versions (constraints.txt). torch comes first: DeepSpeed asks for it while it is installed.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch torchvision torchaudio setuptools wheel
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation deepspeed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $(READY)

clean:
	rm -rf $(VENV) .venv-label-studio .venv-vllm demo saves
