package report

import (
	"path/filepath"
	"strings"
)

// labels names models as briefly as tells them apart: by as many of the last elements
// of their paths as it takes, the same number for all.
func labels(paths []string) []string {
	parts := make([][]string, len(paths))
	longest := 1
	for i, p := range paths {
		parts[i] = strings.Split(filepath.ToSlash(filepath.Clean(p)), "/")
		longest = max(longest, len(parts[i]))
	}
	short := make([]string, len(paths))
	for n := 1; n <= longest; n++ {
		distinct := map[string]bool{}
		for i, p := range parts {
			short[i] = strings.Join(p[max(0, len(p)-n):], "/")
			distinct[short[i]] = true
		}
		if len(distinct) == len(paths) {
			return short
		}
	}
	return paths
}

func (r Report) labels() []string {
	paths := make([]string, len(r.Models))
	for i, m := range r.Models {
		paths[i] = m.Model
	}
	return labels(paths)
}
