#!/usr/bin/env bash
# Makes a Python environment with pymesos in the folder $1, once.
#
# pymesos needs http-parser, whose released C code was generated for Pythons before 3.11: it is generated again, by the
# last Cython that can, and compiled here. Its setup needs a module that Python 3.12 lost, which is lent to it, and what
# that Cython writes does not compile for later Pythons. So this takes the first of Python 3.11, 3.10, 3.9, 3.8 and 3.12
# that is there, and otherwise lets uv fetch Python 3.11, for which it must reach GitHub. A C compiler is needed.
set -euo pipefail

venv=$1
if [[ -e "$venv/ready" ]]; then
  exit 0
fi

# Whether $1 is a Python that works here, with the headers to compile for it.
works() {
  "$1" - <<'PYTHON' 2>/dev/null
import os, sys, sysconfig, venv
good = (3, 8) <= sys.version_info < (3, 13)
sys.exit(not (good and os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))))
PYTHON
}

# Prints the path of a Python that works.
find_python() {
  local name path uv
  for name in python3.11 python3.10 python3.9 python3.8 python3.12 python3; do
    if path=$(command -v "$name") && works "$path"; then
      echo "$path"
      return
    fi
  done
  if ! uv=$(command -v uv); then
    python3 -m venv "$venv-uv" >&2
    "$venv-uv/bin/python" -m pip --quiet --disable-pip-version-check --no-input install uv >&2
    uv=$venv-uv/bin/uv
  fi
  # Failures say themselves why.
  "$uv" python install --no-bin --install-dir "$venv-python" 3.11 >&2 || return
  for path in "$venv-python"/*/bin/python3.11; do
    if works "$path"; then
      echo "$path"
      return
    fi
  done
  return 1
}

if ! python=$(find_python); then
  echo "pymesos' http-parser compiles for Python 3.8 to 3.12 only. There is none with its headers here" \
    "($(python3 --version 2>&1 || true)), and uv could not fetch one: install one of them with its headers" >&2
  exit 1
fi

rm -rf "$venv"
"$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input)
"${pip[@]}" install 'Cython<3' 'setuptools<81' wheel
if ! "$venv/bin/python" -W ignore -c 'import imp' 2>/dev/null; then
  mkdir "$venv/lent"
  cat > "$venv/lent/imp.py" <<'PYTHON'
"""The one function of the former standard module that http-parser's setup uses."""
import importlib.machinery
import importlib.util


def load_source(name, path):
    loader = importlib.machinery.SourceFileLoader(name, path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module
PYTHON
  export PYTHONPATH=$venv/lent
fi
"${pip[@]}" download --no-deps --no-binary :all: --no-build-isolation --dest "$venv/src" http-parser==0.9.0
tar --extract --gzip --directory "$venv/src" --file "$venv/src/http-parser-0.9.0.tar.gz"
"$venv/bin/cython" -2 "$venv/src/http-parser-0.9.0/http_parser/parser.pyx" -o "$venv/src/http-parser-0.9.0/http_parser/parser.c" 2>/dev/null
"${pip[@]}" install --no-build-isolation "$venv/src/http-parser-0.9.0"
unset PYTHONPATH
"${pip[@]}" install pymesos==0.3.15
"$venv/bin/python" -c 'import pymesos, http_parser.parser'
touch "$venv/ready"
