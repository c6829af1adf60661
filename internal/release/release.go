// Package release says which release of the program this is.
package release

// Name is what it is called, and Version which one it is, as CHANGELOG.md lists them.
const (
	Name    = "pipe"
	Version = "0.1.0"
)
