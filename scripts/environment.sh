# Sourced by the scripts beside it: cd's to the checkout and defines `prepare EXTRAS`, which makes the virtual
# environment (.venv, or $KDJAX_VENV) and installs kdjax with these extras at the tested versions.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
VENV=${KDJAX_VENV:-.venv}

say() { printf '\n== %s\n' "$*"; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "kdjax needs Python 3.11, 3.12 or 3.13; set PYTHON to one of these" >&2
  return 1
}

prepare() {
  local extras=$1 python stamp
  if nvidia-smi >/dev/null 2>&1; then extras=${extras:+$extras,}cuda12; fi
  stamp="$extras $(cat pyproject.toml constraints.txt | sha256sum)"
  if [ "$(cat "$VENV/kdjax-installed-$extras" 2>/dev/null)" = "$stamp" ]; then
    say "environment $VENV is ready"
  else
    python=$(find_python) || exit 1
    if ! "$VENV/bin/python" -c '' 2>/dev/null; then
      say "making the virtual environment $VENV with $("$python" --version)"
      "$python" -m venv "$VENV" || exit 1
    fi
    say "installing kdjax${extras:+[$extras]}"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".${extras:+[$extras]}" || exit 1
    echo "$stamp" >"$VENV/kdjax-installed-$extras"
  fi
}
