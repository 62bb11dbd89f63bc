"""Values that every subject uses: numbers, timestamps, windows of time, paths, filters, sealed texts."""
