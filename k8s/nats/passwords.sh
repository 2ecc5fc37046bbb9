#!/bin/sh
# Prints the Secret with a random password for each NATS user; nothing is kept. Once, before the first install:
#   sh k8s/nats/passwords.sh | kubectl -n apisix create -f -
set -eu
echo "apiVersion: v1
kind: Secret
metadata:
  name: serinus-nats
  labels:
    app.kubernetes.io/part-of: serinus
type: Opaque
stringData:"
for user in BOOTSTRAP PUBLIC_BOOTSTRAP WATCHER ANALYZER ROUTER NOTIFIER SUBSCRIBER SYS ROUTES; do
  # A letter first: nats-server would read digits as a number.
  echo "  NATS_PASSWORD_$user: p$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"
done
