# What can be done here, one recipe each. `./just` lists them; `./just test -k routing` passes arguments on.

set positional-arguments
set no-exit-message

export UV_PROJECT_ENVIRONMENT := justfile_directory() / ".venv"
export PATH := justfile_directory() / ".venv/bin:" + env("PATH")
unexport VIRTUAL_ENV

[private]
@default:
    '{{ just_executable() }}' --justfile '{{ justfile() }}' --list --unsorted

# Bring the environment in .venv up to date; GROUP is one more dependency group
setup GROUP="dev":
    #!/bin/sh
    wanted="--all-packages --all-extras --inexact --group $1"
    stop() { printf 'just setup: %s\n' "$1" >&2; exit 2; }
    [ -x .venv/bin/python ] && uv sync $wanted --check --quiet 2>/dev/null && exit 0
    mkdir -p .venv 2>/dev/null && [ -w .venv ] ||
        stop 'this folder cannot be written to; copy the repository to a place where it can.'
    if ! said=$(uv lock --quiet 2>&1); then
        printf '%s' "$said" | grep -qiE 'fetch|connect|dns|network|offline|not found in the (cache|package registry)' &&
            [ -z "${MIXTURA_VERBOSE-}" ] &&
            stop 'no package registry could be reached; check the network and call again (MIXTURA_VERBOSE=1 shows the details).'
        printf '%s\n' "$said" >&2
        stop 'uv found no set of packages to install, for the reason above.'
    fi
    [ -t 2 ] || { echo 'Setting up .venv (some minutes the first time)' >&2; quiet=--quiet; }
    uv sync $wanted ${quiet-} || stop 'uv could not install the packages, for the reason above.'

# Train Seg-MoE on ETTh1 and show the table, the forecast and what the experts do
demo *ARGS: setup
    @mixtura-forecasting demo "$@"

# Train MixER and its rivals on four families of dynamical systems: the table and the portraits
dynamics-demo *ARGS: setup
    @mixtura-dynamics demo "$@"

# Run the default tests with coverage; arguments go to pytest
test *ARGS: setup
    @pytest "$@" --cov

# Run the tests that take long
slow *ARGS: setup
    @pytest -m slow "$@"

# Run the tests of broken files, killed processes and wrong input, the long ones too
faults *ARGS: setup
    @pytest tests/faults -m '' "$@"

# Run the end-to-end tests, the long ones too
e2e *ARGS: setup
    @pytest tests/e2e -m '' "$@"

# Run the commands and examples of every README, the long ones too
docs *ARGS: setup
    @pytest tests/docs -m '' "$@"

# Compare one folder of reference vectors, or every one below it, with what Mixtura computes
parity DIR *ARGS: setup
    @cd '{{ invocation_directory() }}' && PYTHONPATH='{{ justfile_directory() }}' python -m tests.parity "$@"

# Run a benchmark of benchmarks/ by name: `./just bench core --json core.json`
bench NAME *ARGS: (setup "benchmark")
    #!/bin/sh
    script='{{ justfile_directory() }}'/benchmarks/$1.py
    if [ ! -f "$script" ]; then
        echo "just bench: there is no benchmark '$1'; choose one of:" $(cd benchmarks && ls *.py | sed 's/\.py$//') >&2
        exit 2
    fi
    shift
    cd '{{ invocation_directory() }}' && exec python "$script" "$@"

# Build the wheel of every distribution into dist/
wheels: setup
    @uv build --all-packages --wheel --quiet --out-dir dist
    @ls dist/*.whl

# Format the code
fmt: setup
    @ruff check --fix-only --quiet
    @ruff format

# Check style, formatting and types
lint: setup && type
    @ruff check
    @ruff format --check

# Check types
type *ARGS: setup
    @basedpyright "$@"
