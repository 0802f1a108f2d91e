#!/usr/bin/env bash
# Runs a command where windows can open: on the display there is, else on a virtual one.
set -euo pipefail
if [ "$(uname -s)" = Linux ] && [ -z "${DISPLAY:-}" ] && [ -z "${WAYLAND_DISPLAY:-}" ]; then
    exec xvfb-run -a -s "-screen 0 1600x1000x24" "$@"
fi
exec "$@"
