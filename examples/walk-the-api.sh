#!/bin/sh
# Okta's guide "Share application key credentials for IdPs across apps", by hand, on a sandbox:
# list the keys, generate one, clone it, clone it again and meet the 400.
#
#   okta-keys sandbox --port 8765 --apps 2     (in another terminal; it prints the token)
#   OKTA_CLIENT_ORGURL=http://127.0.0.1:8765 OKTA_CLIENT_TOKEN=... sh examples/walk-the-api.sh
set -eu

call() { # call METHOD PATH
  curl -sS -X "$1" -H "Authorization: SSWS $OKTA_CLIENT_TOKEN" -H "Accept: application/json" \
    -H "Content-Length: 0" "$OKTA_CLIENT_ORGURL/api/v1$2"
}
field() { # field NAME: every value of a string field, one a line
  grep -o "\"$1\": *\"[^\"]*\"" | cut -d'"' -f4
}

apps=$(call GET "/apps?limit=2" | grep -o '"id": *"0oa[^"]*"' | cut -d'"' -f4)
source=$(printf '%s\n' "$apps" | sed -n 1p)
target=$(printf '%s\n' "$apps" | sed -n 2p)
echo "source $source, target $target"

kid=$(call POST "/apps/$source/credentials/keys/generate?validityYears=2" | field kid)
echo "generated $kid"

echo "clone: $(call POST "/apps/$source/credentials/keys/$kid/clone?targetAid=$target" | field kid)"
echo "clone again: $(call POST "/apps/$source/credentials/keys/$kid/clone?targetAid=$target" | field errorSummary | tail -n 1)"
