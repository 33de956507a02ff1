#!/bin/sh
# Asks the advisory service about every locked version: exit 1 on a known vulnerability.
# What cannot be asked (no network, a mirror without advisories) is said plainly and is no failure.
set -eu
cd "$(dirname "$0")/.."
tools=build/audit
[ -x "$tools/bin/pip-audit" ] || {
    .venv/bin/python -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check pip-audit
}
found=0
said=$("$tools/bin/pip-audit" --requirement deploy/requirements.lock --disable-pip --progress-spinner off --timeout 10 2>&1) || found=$?
echo "$said" | grep -vE "could not be audited|^Name +Skip Reason|^-+ -+$|^No known" | tail -40 || true
unknown=$(echo "$said" | grep -c "could not be audited" || true)
if echo "$said" | grep -qE "ConnectionError|Timeout|ProxyError|SSLError|Max retries|HTTPError|ServiceError"; then
    echo "dependencies: NOT CHECKED, the advisory service does not answer" >&2
    exit 0
fi
[ "$unknown" -eq 0 ] || echo "dependencies: NOT CHECKED: $unknown, which the advisory service at hand does not know (a mirror?)" >&2
[ "$found$unknown" != 00 ] || echo "dependencies: no known vulnerability"
exit "$found"
