package teacher

// WithBegin has a run call begin when it begins to fill a shard.
func WithBegin(o Options, begin func(shard int)) Options {
	o.begin = begin
	return o
}
