# The door most people try first. Everything real happens in `cllm` (nbs/tools/07_cli.ipynb); this file sets the machine up and calls it.
SHELL := /bin/bash
PY    := .venv/bin/python
CLLM  := .venv/bin/cllm

PORT  ?= 8080
MEM   ?=
SMP   ?= 1
ACCEL ?= auto
NIC   ?= e1000
MODELARG = $(if $(MODEL),--model '$(MODEL)')
MEMARG   = $(if $(MEM),--memory $(MEM))
RUN    = $(CLLM) run --end-with-caller --port $(PORT) $(MEMARG) --smp $(SMP) --accel $(ACCEL) --nic $(NIC) $(MODELARG) $(if $(CONFIG),--config '$(CONFIG)')

.PHONY: bench chat docs run run-vga run-debug lab test train tangle readme iso build clean deps help

run: .venv/ready        ## boot QEMU with MODEL= (default: the built-in one) and serve http://127.0.0.1:PORT
	@$(RUN)

run-vga: .venv/ready    ## the same, with a VGA window (where there is a display)
	@$(if $(DISPLAY)$(WAYLAND_DISPLAY),DEPS_EXTRA=window ./tools.sh)
	@$(RUN) --vga

run-debug: .venv/ready  ## QEMU stopped, waiting for gdb on :1234
	@$(RUN) --debug

chat: .venv/ready       ## talk to the machine in this terminal: boots one, or URL=http://… of a running one
	@$(CLLM) chat $(if $(URL),--url '$(URL)') $(MODELARG) $(MEMARG)

lab: .venv/ready        ## JupyterLab on the book
	@$(CLLM) lab

test: .venv/train .venv/clients/ready .venv/site .venv/chromium       ## run every notebook, check the tangle; ends with "N passed, N failed"
	@$(CLLM) test

train: .venv/train      ## train the built-in models again (chapter 22; hours on two cores; can be interrupted)
	@$(CLLM) train

tangle: .venv/ready     ## notebooks -> cllm/ and kernel_src/
	@$(CLLM) tangle

docs: .venv/site        ## the book as a static site in _site/
	@$(CLLM) docs

readme: .venv/ready     ## nbs/index.ipynb -> README.md
	@$(CLLM) readme

build: .venv/ready      ## build/cllm.elf
	@$(CLLM) build

iso: .venv/ready        ## build/cllm.iso, bootable through GRUB
	@DEPS_EXTRA="grub-mkrescue xorriso mformat" ./tools.sh
	@$(CLLM) iso $(MODELARG)

bench: .venv/ready      ## sizes, start-up and tokens per second, measured here
	@$(CLLM) bench $(MODELARG)

clean:                  ## remove what was built (not .venv, and not build/train: the checkpoints of hours)
	rm -rf _site; [ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name train -exec rm -rf {} +

deps: .venv/ready

# The Python side: made again when the list of requirements changes, and when the checkout was moved or copied
# (an environment holds absolute paths). The Debian side: see tools.sh.
ifneq "$(shell cat .venv/ready 2>/dev/null)" "$(CURDIR)"
.venv/ready: moved
endif
.PHONY: moved
moved:
	@if [ -s .venv/ready ]; then echo 'this checkout was moved or copied: making .venv again'; rm -rf .venv; fi

.venv/ready: settings.ini setup.py tools.sh
	@./tools.sh
	@$(PY) -m pip --version >/dev/null 2>&1 || python3 -m venv --clear .venv
	@echo 'installing the Python packages of settings.ini into .venv (a minute or two)'
	@$(PY) -m pip install --quiet --disable-pip-version-check -e .
	@echo '$(CURDIR)' > $@

# PyTorch, for the training chapter alone. Without it that one chapter is skipped.
.venv/train: .venv/ready
	@echo 'installing PyTorch for the training chapter into .venv (hundreds of megabytes)'
	@$(PY) -m pip install --quiet --disable-pip-version-check -e '.[train]' && touch $@ || echo 'no PyTorch: the training chapter will be skipped'

# A browser for the tests that look at the pages; without one they are skipped.
.venv/chromium: .venv/ready
	@command -v chromium >/dev/null || DEPS_EXTRA=chromium ./tools.sh >/dev/null 2>&1 && touch $@ || echo 'no Chromium: the tests in a browser will be skipped'

# The clients of chapter 34, in folders of their own. What cannot be had is left out (the chapter says so) and tried again next time.
.venv/clients/ready: .venv/ready
	@echo 'fetching the clients of chapter 34 into .venv/clients and .venv/node'
	@rm -rf .venv/clients; ok=1; \
	command -v wrk >/dev/null || DEPS_EXTRA=wrk ./tools.sh >/dev/null 2>&1 || { ok=; echo 'no wrk: chapter 34 will leave it out'; }; \
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --target .venv/clients $$($(PY) -c 'import configparser as c; p = c.ConfigParser(delimiters=["="]); p.read("settings.ini"); print(*p["DEFAULT"]["clients_requirements"].split())') || { ok=; echo 'no litellm, langchain-openai, lm-eval: chapter 34 will leave them out'; }; \
	command -v npm >/dev/null && npm install --silent --no-fund --no-audit --prefix .venv/node openai@6 || { ok=; echo 'no openai for Node: chapter 34 will leave it out'; }; \
	[ -z "$$ok" ] || touch $@

# What the site is built and tried with: MkDocs and Playwright from PyPI, v86 (a PC in WebAssembly) from npm.
# What cannot be had is left out (the pages and tests that want it say so) and tried again next time.
.venv/site: .venv/ready
	@echo 'installing what the site is built and tried with into .venv'
	@command -v npm >/dev/null || DEPS_EXTRA=npm ./tools.sh >/dev/null 2>&1; ok=1; \
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[site]' || { ok=; echo 'no MkDocs or Playwright: make docs and the browser tests need them'; }; \
	command -v npm >/dev/null && npm install --silent --no-fund --no-audit --prefix .venv/v86 v86@0.5.462 || { ok=; echo 'no v86: the site will not boot the kernel in a tab'; }; \
	[ -z "$$ok" ] || touch $@

help:                   ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:[^#]*## /\t/' | expand -t14
