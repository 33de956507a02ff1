#!/bin/sh
# Brings what Gongji needs and this machine lacks: system packages by apt, Python packages from the lock, Kafka's jars.
# Every step is skipped when its result is there, so that a second run takes no time. Needs root or sudo only for apt.
set -eu
cd "$(dirname "$0")/.."

venv=.venv
jars=deploy/local/kafka/lib
apt_install="apt-get install -y --no-install-recommends"

say() { printf 'setup: %s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }

usable_python() { # can make an environment, and is new enough
    has "$1" && "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# The distribution's interpreter is built with profile-guided optimisation and runs this work 1.4 to 2.2 times as fast
# as one built from source without it: it comes first, whatever PATH says.
find_python() {
    for python in /usr/bin/python3 /usr/bin/python3.11 /usr/bin/python3.12 /usr/bin/python3.13 "$@"; do
        if usable_python "$python"; then echo "$python"; return; fi
    done
}

java_is_new_enough() {
    has java && java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | grep -qE '^(1[7-9]|[2-9][0-9])$'
}

has_postgres() { has initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }

missing_packages() {
    [ -x "$venv/bin/python" ] || [ -n "$(find_python $other_pythons)" ] || printf 'python3 python3-venv '
    java_is_new_enough || printf 'openjdk-17-jre-headless '
    is_stamped "$jars" "$jars_stamp" || has mvn || printf 'maven '
    has_postgres || printf 'postgresql '
    has redis-server || printf 'redis-server '
}

is_stamped() { [ "$(cat "$1/.stamp" 2>/dev/null)" = "$2" ]; }
stamp() { printf '%s' "$2" >"$1/.stamp"; }
digest() { cat "$@" | sha256sum | cut -d' ' -f1; }

quietly() { said=$("$@" 2>&1 </dev/null) || { printf '%s\n' "$said" >&2; exit 1; }; }

as_root() {
    if [ "$(id -u)" = 0 ]; then env DEBIAN_FRONTEND=noninteractive "$@"
    else sudo env DEBIAN_FRONTEND=noninteractive "$@"; fi
}

may_be_root() {
    has apt-get || return 1
    [ "$(id -u)" = 0 ] || { has sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }
}

install_packages() {
    say "installing $*"
    # The package lists of a fresh machine are empty or old: fetched only when the first attempt fails.
    as_root $apt_install "$@" >&2 || { as_root apt-get update >&2 && as_root $apt_install "$@" >&2; }
}

give_up() {
    say "these packages are missing: $*"
    say "as root, run:  apt-get update && $apt_install $*"
    exit 1
}

jars_stamp=$(digest deploy/local/kafka/pom.xml)
venv_stamp=$(digest deploy/requirements.lock pyproject.toml)

# Another Python is only a way out where the distribution's cannot be installed.
if may_be_root; then other_pythons=; else other_pythons="python3.13 python3.12 python3.11 python3"; fi

missing=$(missing_packages)
if [ -n "$missing" ]; then
    may_be_root && install_packages $missing || give_up $missing
fi

mkdir -p .gongji
exec 9>.gongji/setup.lock
flock 9 # two commands at once in one checkout: the second finds everything done

if [ ! -x "$venv/bin/python" ]; then
    python=$(find_python $other_pythons)
    say "Python: $python ($("$python" -c 'import platform; print(platform.python_version())'))"
    "$python" -m venv "$venv"
fi

if ! is_stamped "$venv" "$venv_stamp"; then
    say "Python packages, from deploy/requirements.lock"
    quietly "$venv/bin/python" -m pip install --disable-pip-version-check --require-hashes -r deploy/requirements.lock
    quietly "$venv/bin/python" -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
    quietly "$venv/bin/python" -m pip check # a dependency that the lock does not know yet
    stamp "$venv" "$venv_stamp"
fi

if ! is_stamped "$jars" "$jars_stamp"; then
    say "Kafka's jars, by Maven"
    rm -rf "$jars"
    quietly mvn -B -q -f deploy/local/kafka/pom.xml dependency:copy-dependencies
    stamp "$jars" "$jars_stamp"
fi

# Only saves time: without it a broker starts slower and is the same.
classes=$jars/classes.jsa
java_stamp=$(java -version 2>&1 | digest)
if [ ! -e "$classes" ] || [ "$(cat "$classes.java" 2>/dev/null)" != "$java_stamp" ]; then
    rm -f "$classes"
    if "$venv/bin/python" -m deploy.local.class_archive >/dev/null 2>&1; then printf '%s' "$java_stamp" >"$classes.java"
    else say "no archive of the broker's classes could be made; brokers start slower"; fi
fi
