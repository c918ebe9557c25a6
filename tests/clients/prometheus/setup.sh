#!/usr/bin/env bash
# Puts prometheus and promtool into the folder $1, once: those of this machine, or else those of Debian's package
# `prometheus`, fetched by apt-get and unpacked without being installed.
set -euo pipefail

place=$1
if [[ -e "$place/ready" ]]; then
  exit 0
fi
rm -rf "$place"
mkdir -p "$place/bin"
if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
  ln -s "$(command -v prometheus)" "$(command -v promtool)" "$place/bin/"
else
  if ! command -v apt-get >/dev/null; then
    echo "neither prometheus and promtool nor apt-get to fetch them: install Prometheus" >&2
    exit 1
  fi
  cd "$place"
  # Only the superuser may refresh the lists; others take them as they are.
  apt-get -q download prometheus >fetched 2>&1 || { apt-get -q update && apt-get -q download prometheus; } >>fetched 2>&1 || {
    cat fetched >&2
    echo "apt-get cannot fetch the package prometheus: install Prometheus" >&2
    exit 1
  }
  dpkg-deb --extract prometheus_*.deb unpacked
  mv unpacked/usr/bin/prometheus unpacked/usr/bin/promtool bin/
  rm -r unpacked prometheus_*.deb
fi
"$place/bin/prometheus" --version >/dev/null 2>&1
"$place/bin/promtool" --version >/dev/null 2>&1
touch "$place/ready"
