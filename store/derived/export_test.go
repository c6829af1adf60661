package derived

// WithMemory bounds the sums that are held at a time.
func (o CentresOptions) WithMemory(bytes int) CentresOptions {
	o.memory = bytes
	return o
}
