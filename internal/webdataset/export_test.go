package webdataset

// SetMaxShardBytes changes what fits into a shard and returns how to undo that.
func SetMaxShardBytes(n int64) (restore func()) {
	was := maxShardBytes
	maxShardBytes = n
	return func() { maxShardBytes = was }
}
