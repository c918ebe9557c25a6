#!/usr/bin/env bash
# Makes a Python environment with pymesos in the folder $1, once.
#
# pymesos needs http-parser, whose released C code was generated for Pythons before 3.11: it is generated again, by the
# last Cython that can, and compiled here.
set -euo pipefail

venv=$1
if [[ -e "$venv/ready" ]]; then
  exit 0
fi

python=$(command -v python3.11 || command -v python3.10 || command -v python3)
"$python" -c 'import sys; sys.exit(sys.version_info >= (3, 12))' || {
  echo "pymesos' http-parser needs Python 3.11 or older; found only $("$python" --version)" >&2
  exit 1
}

rm -rf "$venv"
"$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input)
"${pip[@]}" install 'Cython<3' 'setuptools<81' wheel
"${pip[@]}" download --no-deps --no-binary :all: --no-build-isolation --dest "$venv/src" http-parser==0.9.0
tar --extract --gzip --directory "$venv/src" --file "$venv/src/http-parser-0.9.0.tar.gz"
"$venv/bin/cython" -2 "$venv/src/http-parser-0.9.0/http_parser/parser.pyx" -o "$venv/src/http-parser-0.9.0/http_parser/parser.c" 2>/dev/null
"${pip[@]}" install --no-build-isolation "$venv/src/http-parser-0.9.0"
"${pip[@]}" install pymesos==0.3.15
"$venv/bin/python" -c 'import pymesos, http_parser.parser'
touch "$venv/ready"
