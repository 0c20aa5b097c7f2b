"""Kubernetes: who we are in a cluster, and what it holds."""
