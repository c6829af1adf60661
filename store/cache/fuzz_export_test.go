package cache

// Validate is what readers ask of a manifest.
func (m *manifest) Validate(shard, rows int) error { return m.validate(shard, rows) }
