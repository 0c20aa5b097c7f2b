#!/bin/sh
# The namespace, made once; a week is how long the Web UI shows a finished workflow. Ends when the
# server knows the namespace, which it does some seconds after it was made. Safe to run again.
set -eu
temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" > /dev/null 2>&1 ||
  temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention 168h
tries=60
until temporal workflow count --namespace "$TEMPORAL_NAMESPACE" > /dev/null 2>&1; do
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || { echo "Namespace $TEMPORAL_NAMESPACE does not become usable" >&2; exit 1; }
  sleep 1
done
