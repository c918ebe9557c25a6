#!/usr/bin/env bash
# Makes a Python environment with mesos.interface in the folder $1, once.
#
# mesos.interface holds the messages that Apache's protoc generated, in the form that protobuf 3.20 was the last to load,
# and only in its pure Python implementation. Any Python 3.7 to 3.12 will do; its namespace package needs no setuptools.
set -euo pipefail

venv=$1
if [[ -e "$venv/ready" ]]; then
  exit 0
fi
rm -rf "$venv"
python3 -m venv "$venv"
pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input)
"${pip[@]}" install protobuf==3.20.3
"${pip[@]}" download --no-deps --no-binary :all: --dest "$venv/src" mesos.interface==1.7.2
tar --extract --gzip --directory "$venv/src" --file "$venv/src/mesos.interface-1.7.2.tar.gz"
mv "$venv/src/mesos.interface-1.7.2/src/mesos/interface/mesos_pb2.py" "$venv/mesos_pb2.py"
PYTHONPATH=$venv "$venv/bin/python" -c 'import mesos_pb2'
touch "$venv/ready"
