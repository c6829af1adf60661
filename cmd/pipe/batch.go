package main

import (
	"fmt"
	"strconv"

	"facepipe/internal/embed"
)

// batchFlag is a number of crops, or auto.
type batchFlag struct{ n *int }

// Set parses a flag's value.
func (b batchFlag) Set(s string) error {
	if s == "auto" {
		*b.n = embed.AutoBatch
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > embed.MaxBatch {
		return fmt.Errorf("%q is neither auto nor a number of crops up to %d", s, embed.MaxBatch)
	}
	*b.n = n
	return nil
}

// String is the value as Set takes it; "" for the default.
func (b batchFlag) String() string {
	switch {
	case b.n == nil || *b.n == 0:
		return ""
	case *b.n == embed.AutoBatch:
		return "auto"
	}
	return strconv.Itoa(*b.n)
}

// Type is what help texts call the value.
func (b batchFlag) Type() string { return "N|auto" }
