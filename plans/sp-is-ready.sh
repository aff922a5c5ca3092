#!/bin/sh
# Does the service provider of this app trust the new certificate already? Exit 0 if it does, and
# the app may be activated. Any other exit, or none in time, leaves it for a later run.
#
# okta-keys runs this once for every app that is staged. OKTA_KEYS_APP_ID is the id of the app, and
# one JSON object on stdin says the same and more: the owner and vendor of its CSV row, the key.
# Ask what knows in your place: the vendor's API, a ticket, or, as here, a list that people keep.
set -eu

cat >/dev/null # the JSON; a script that needs it pipes it into jq
not_ready=$(dirname "$0")/not-ready.txt # one app id a line; without the file, all are ready

if [ -f "$not_ready" ] && grep -qxF -e "$OKTA_KEYS_APP_ID" "$not_ready"; then
  echo "$OKTA_KEYS_APP_ID is listed in $not_ready"
  exit 1
fi
