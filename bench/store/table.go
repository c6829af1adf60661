package main

import (
	"encoding/json"
	"io"
)

// result is one measurement.
type result struct {
	System     string             `json:"system"`
	Phase      string             `json:"phase"`
	Rows       int                `json:"rows"`
	Threads    int                `json:"threads,omitempty"`
	Seconds    float64            `json:"seconds"`
	Processor  float64            `json:"processor_seconds"`
	Operations int                `json:"operations"`
	Bytes      int64              `json:"bytes,omitempty"`
	PeakMiB    float64            `json:"peak_mib,omitempty"`
	Also       map[string]float64 `json:"also,omitempty"`
}

func (r result) print(w io.Writer) error { return json.NewEncoder(w).Encode(r) }

func printTable(r io.Reader, w io.Writer) error { return nil }
