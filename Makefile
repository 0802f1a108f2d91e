.PHONY: demo test test-slow lint bench screenshots setup

bin := .venv/bin

setup:
	@tools/setup.sh

demo: setup
	@$(bin)/segtrain demo $(if $(DISPLAY)$(WAYLAND_DISPLAY),--view)

# Windows are tested in a process of their own: a viewer shares none with a thousand other tests.
test: setup lint
	@tools/with-display.sh $(bin)/python -m pytest -n 2 --dist loadgroup --ignore tests/widgets -m "not slow"
	@tools/with-display.sh $(bin)/python -m pytest tests/widgets -m "not slow"

# What takes more than a few seconds each: trainings that are killed, several processes, real data, the docs.
test-slow: setup
	@tools/with-display.sh $(bin)/python -m pytest -n 2 --dist loadgroup --ignore tests/widgets -m slow
	@tools/with-display.sh $(bin)/python -m pytest tests/widgets -m slow

lint: setup
	@$(bin)/ruff format --check .
	@$(bin)/ruff check .
	@$(bin)/mypy
	@$(bin)/lint-imports

# These run for hours when left alone: here for as long as it takes to see that they work.
long := $(addprefix benchmarks/, accuracy.py auxiliary_tasks.py label_next.py viewer_memory.py)

bench: setup
	@for file in $(filter-out $(long) benchmarks/trainings.py,$(wildcard benchmarks/*.py)); do \
		echo "== $$file"; tools/with-display.sh $(bin)/python $$file || exit 1; done
	@echo "== benchmarks/auxiliary_tasks.py --quick"; $(bin)/python benchmarks/auxiliary_tasks.py --quick
	@echo "== benchmarks/label_next.py --quick"; $(bin)/python benchmarks/label_next.py --quick
	@echo "== benchmarks/viewer_memory.py --minutes 3"; \
		tools/with-display.sh $(bin)/python benchmarks/viewer_memory.py --minutes 3
	@echo "== benchmarks/accuracy.py --minutes 1"; $(bin)/python benchmarks/accuracy.py --minutes 1

# The pictures of docs and README, from real docks and short trainings. Look at them before you commit them.
screenshots: setup
	@tools/with-display.sh $(bin)/python tools/make_screenshots.py
