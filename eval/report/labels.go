package report

import (
	"path/filepath"
	"slices"
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
	var paths []string
	for _, m := range r.Models {
		if !slices.Contains(paths, m.Model) {
			paths = append(paths, m.Model)
		}
	}
	short := labels(paths)
	all := make([]string, len(r.Models))
	for i, m := range r.Models {
		all[i] = m.on(short[slices.Index(paths, m.Model)])
	}
	return all
}

// on adds to a model's name that of the test, where there are several.
func (m Model) on(name string) string {
	if m.Test == "" {
		return name
	}
	return name + " on " + m.Test
}
