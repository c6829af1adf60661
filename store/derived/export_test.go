package derived

// Dot is dot, for tests.
var Dot = dot

// WithMemory bounds the sums that are held at a time.
func (o CentresOptions) WithMemory(bytes int) CentresOptions {
	o.memory = bytes
	return o
}
