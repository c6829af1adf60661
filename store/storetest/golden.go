package storetest

import (
	"os"
	"testing"
)

// Golden compares data with the file at path, or writes the file if update says so.
func Golden(t testing.TB, path string, data []byte, update bool) {
	t.Helper()
	if update {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(data) {
		t.Errorf("%s: got\n%s", path, data)
	}
}
