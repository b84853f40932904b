"""What a run leaves and tells while it goes on: results, videos, provenance, progress, trackers."""
