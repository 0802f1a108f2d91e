#!/usr/bin/env bash
# Makes .venv with everything that the demo and the tests need. Safe to run again: does nothing when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."

python="${PYTHON:-python3}"
"$python" - <<'PY' || { echo "Python 3.11 or newer is needed; set PYTHON to one" >&2; exit 1; }
import sys
sys.exit(sys.version_info < (3, 11))
PY

# What pip installs depends on these files alone.
stamp=".venv/.installed"
wanted="$(cat pyproject.toml constraints.txt tools/setup.sh | cksum)"
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    "$python" -m venv .venv
    echo "Installing into .venv (a few minutes the first time)…"
    .venv/bin/python -m pip install --quiet --upgrade "pip>=25.1"
    # torch first: another package's looser requirement must find the pinned build already there.
    .venv/bin/python -m pip install --quiet -c constraints.txt torch
    .venv/bin/python -m pip install --quiet -c constraints.txt --group dev -e ".[all]"
    echo "$wanted" > "$stamp"
fi

# A window needs an X server and OpenGL. On a Debian machine without them they come by apt.
if [ "$(uname -s)" = Linux ] && command -v apt-get > /dev/null; then
    packages=()
    command -v xvfb-run > /dev/null || packages+=(xvfb xauth)
    ldconfig -p | grep -q 'libGL\.so\.1' || packages+=(libgl1 libgl1-mesa-dri libglx-mesa0)
    ldconfig -p | grep -q 'libEGL\.so\.1' || packages+=(libegl1)
    ldconfig -p | grep -q 'libxkbcommon-x11\.so' || packages+=(libxkbcommon-x11-0)
    ldconfig -p | grep -q 'libxcb-cursor\.so' || packages+=(libxcb-cursor0)
    ldconfig -p | grep -q 'libxcb-icccm\.so' || packages+=(libxcb-icccm4 libxcb-image0 libxcb-keysyms1)
    ldconfig -p | grep -q 'libxcb-render-util\.so' || packages+=(libxcb-render-util0 libxcb-shape0)
    ldconfig -p | grep -q 'libxcb-xinerama\.so' || packages+=(libxcb-xinerama0 libxcb-randr0)
    ldconfig -p | grep -q 'libdbus-1\.so' || packages+=(libdbus-1-3)
    ldconfig -p | grep -q 'libfontconfig\.so' || packages+=(libfontconfig1)
    if [ "${#packages[@]}" -gt 0 ]; then
        sudo=""
        if [ "$(id -u)" -ne 0 ]; then
            command -v sudo > /dev/null || { echo "Install by hand: ${packages[*]}" >&2; exit 1; }
            sudo="sudo"
        fi
        echo "Installing ${packages[*]}…"
        $sudo apt-get update -qq
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${packages[@]}" > /dev/null
    fi
fi
