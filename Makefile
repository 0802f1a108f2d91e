.PHONY: demo test lint bench setup

bin := .venv/bin

setup:
	@tools/setup.sh

demo: setup
	@$(bin)/segtrain demo $(if $(DISPLAY)$(WAYLAND_DISPLAY),--view)

test: setup lint
	@tools/with-display.sh $(bin)/python -m pytest

lint: setup
	@$(bin)/ruff format --check .
	@$(bin)/ruff check .
	@$(bin)/mypy
	@$(bin)/lint-imports

bench: setup
	@for file in $(filter-out benchmarks/accuracy.py,$(wildcard benchmarks/*.py)); do \
		echo "== $$file"; tools/with-display.sh $(bin)/python $$file || exit 1; done
	@echo "== benchmarks/accuracy.py --minutes 1"; $(bin)/python benchmarks/accuracy.py --minutes 1
