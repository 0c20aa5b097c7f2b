"""Merging: from what a shard staged to what the store says, in one transaction."""

from __future__ import annotations

from storage.merge.shards import merge_shard

__all__ = ["merge_shard"]
