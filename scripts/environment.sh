# Sourced by the scripts beside it: cd's to the checkout and defines `prepare EXTRAS`, which makes the virtual
# environment (.venv, or $KDJAX_VENV) and installs kdjax with these extras at the tested versions.

cd "${BASH_SOURCE[0]%/*}/.." || exit 1
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

# The file with the tested versions for an interpreter.
constraints() {
  "$1" -c 'import sys; print(f"constraints-3.{11 if sys.version_info < (3, 12) else 12}.txt")'
}

# The extra with the newest CUDA that the driver runs and every GPU knows: "cuda13" (driver 580, compute capability 7.5,
# Turing), "cuda12" (driver 525), or nothing on a machine without a GPU.
cuda_extra() {
  local driver major capability extra=
  while IFS=', ' read -r driver capability; do
    major=${driver%%.*}
    case $major$capability in '' | *[!0-9.]*) continue ;; esac
    if [ "$major" -lt 525 ]; then
      echo "kdjax: the NVIDIA driver $driver is too old for JAX, which needs 525 for CUDA 12: the CPU is used" >&2
      return
    fi
    if [ "$major" -lt 580 ] || [ "${capability%%.*}" -lt 7 ] || [ "$capability" = 7.0 ] || [ "$capability" = 7.2 ]; then
      extra=cuda12
    fi
    : "${extra:=cuda13}"
  done < <(nvidia-smi --query-gpu=driver_version,compute_cap --format=csv,noheader 2>/dev/null)
  echo "$extra"
}

prepare() {
  local extras=$1 python cuda pinned stamp
  cuda=$(cuda_extra)
  extras=$extras${cuda:+${extras:+,}$cuda}
  if ! "$VENV/bin/python" -c '' 2>/dev/null; then
    python=$(find_python) || exit 1
    say "making the virtual environment $VENV with $("$python" --version)"
    "$python" -m venv "$VENV" || exit 1
  fi
  pinned=$(constraints "$VENV/bin/python")
  stamp="$extras $(cat pyproject.toml "$pinned" | cksum)"
  if [ "$(cat "$VENV/kdjax-installed-$extras" 2>/dev/null)" = "$stamp" ]; then
    say "environment $VENV is ready"
  else
    say "installing kdjax${extras:+[$extras]} at the versions of $pinned"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -c "$pinned" -e ".${extras:+[$extras]}" || exit 1
    case ,$extras, in
      *,test,*) # without its dependencies, see kdjax.ship.serve.CONVERTER; there is none for Linux on ARM, say
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -c "$pinned" litert-converter ||
          say "no litert-converter for this machine: tests of .tflite files are skipped"
        ;;
    esac
    echo "$stamp" >"$VENV/kdjax-installed-$extras"
  fi
}
