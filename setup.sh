#!/usr/bin/env bash
# vlagym on this machine in one command:
#
#   ./setup.sh          what it needs of the system, a virtual environment, the package; then the default run
#   ./setup.sh test     the same with all that the tests need; then the tests
#
# It installs into the virtual environment that is active, or else into .venv, which it makes with the first Python of 3.10 to 3.13
# that it finds (PYTHON=python3.12 chooses one). System libraries that are missing it installs where it may, as root or by a sudo that
# asks for no password; else it prints the line to paste, and ends. Run it again at any time: what is there is left as it is.
set -euo pipefail
cd "$(dirname "$0")"

say() { echo "setup.sh: $*"; }

# Names of Debian packages -> installed, or the line that installs them.
install_system() {
  [ $# -gt 0 ] || return 0
  if ! command -v apt-get > /dev/null; then
    say "this system has no apt-get; it needs what Debian calls $*. Going on without looking for them."
    return 0
  fi
  local root=()
  if [ "$(id -u)" != 0 ]; then
    if ! sudo -n true 2> /dev/null; then
      say "these system packages are missing. Paste this line, then run me again:"
      echo "  sudo apt-get update && sudo apt-get install -y $*"
      exit 1
    fi
    root=(sudo)
  fi
  say "installing the system packages $*"
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" > /dev/null
}

# Drawing without a display needs EGL, OpenGL and Mesa's drivers; OpenCV, which robosuite imports, needs OpenGL and GLib.
system_libraries() {
  local wanted=(libEGL.so.1=libegl1 libGL.so.1=libgl1 libgthread-2.0.so.0=libglib2.0-0) missing=() known package
  known=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2> /dev/null || true)
  for package in "${wanted[@]}"; do
    case $known in *"${package%=*}"*) ;; *) missing+=("${package#*=}") ;; esac
  done
  for package in libegl-mesa0 libgl1-mesa-dri; do
    dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  install_system ${missing[@]+"${missing[@]}"}
}

fits() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' > /dev/null 2>&1; }

# A Python that fits; 3.11 and 3.10 first, the newest that all benchmarks have packages for.
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.11 python3.10 python3 python3.12 python3.13}; do
    if fits "$candidate"; then command -v "$candidate" && return; fi
  done
  return 1
}

# Sets python to that of the virtual environment, which is made where there is none.
virtual_environment() {
  if [ -n "${VIRTUAL_ENV:-}" ]; then
    python=$VIRTUAL_ENV/bin/python
    fits "$python" || { say "the active environment $VIRTUAL_ENV has no Python of 3.10 to 3.13: deactivate it, and run me again."; exit 1; }
    return
  fi
  python=$PWD/.venv/bin/python
  if [ -x .venv/bin/pip ] && fits "$python"; then return; fi
  local base
  base=$(find_python) || {
    [ -z "${PYTHON:-}" ] || { say "PYTHON=$PYTHON is not a Python of 3.10 to 3.13."; exit 1; }
    install_system python3 python3-venv
    base=$(find_python) || { say "there is no Python of 3.10 to 3.13 here. With uv: uv venv --seed --python 3.11 .venv, then run me again."; exit 1; }
  }
  # Debian's Python comes without what makes virtual environments.
  "$base" -c 'import ensurepip, venv' 2> /dev/null || install_system "$("$base" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
  say "making .venv with $("$base" --version)"
  "$base" -m venv --clear .venv
}

what=${1:-run}
case $what in run | test) ;; *) say "usage: ./setup.sh [test]"; exit 2 ;; esac
system_libraries
virtual_environment
say "installing into ${python%/bin/python}"
"$python" -m pip install -q 'pip>=24' # Python 3.10's own cannot resolve the requirements
bin=$(dirname "$python")
if [ "$what" = run ]; then
  "$python" -m pip install .
  "$bin/vla-eval"
else
  "$python" -m pip install torch==2.13.0
  "$python" -m pip install -e '.[dev,libero,calvin,openvla,remote,robovlms,rt1,simpler]'
  "$bin/vla-eval" install libero
  "$python" -m pytest -n 2 --dist worksteal
fi
[ -n "${VIRTUAL_ENV:-}" ] || say "vla-eval is in .venv; in this shell: . .venv/bin/activate"
