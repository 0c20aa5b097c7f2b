#!/bin/sh
# The namespace, and how long the Web UI shows a finished workflow. Safe to run again.
set -eu
temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" > /dev/null 2>&1 ||
  temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention 168h
temporal operator namespace update --namespace "$TEMPORAL_NAMESPACE" --retention 168h
