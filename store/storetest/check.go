package storetest

import (
	"testing"

	"facepipe/store/check"
)

// CleanCheck fails unless a full check finds nothing wrong.
func CleanCheck(t testing.TB, dir string) check.Report {
	t.Helper()
	r, err := check.Run(t.Context(), dir, check.Options{ReadData: true})
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK {
		t.Fatalf("check: %+v", r.Problems)
	}
	return r
}
