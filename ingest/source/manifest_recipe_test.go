package source

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The recipe of docs/manifest.md for attributes in file names does what it says.
func TestManifestRecipe(t *testing.T) {
	for _, tool := range []string{"sh", "awk"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s here: %v", tool, err)
		}
	}
	page, err := os.ReadFile("../../docs/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Attributes from file names")
	_, code, _ := strings.Cut(section, "```sh\n")
	code, _, found := strings.Cut(code, "```")
	if !found || !strings.Contains(code, "awk") {
		t.Fatal("docs/manifest.md has no such recipe")
	}
	dir := pictures(t, "100_0_0_20170112215240346.jpg.chip.jpg", "7_1_4_20170103200329407.jpg.chip.jpg", "39_1_20170116174525125.jpg.chip.jpg", "61_3_2_20170109150557335.jpg.chip.jpg")
	sh := exec.CommandContext(t.Context(), "sh", "-c", code)
	sh.Dir = dir
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []string
	for _, item := range items(t, dir+"/attributes.csv") {
		if _, err := item.Read(nil); err != nil {
			t.Errorf("%s: %v", item.Key, err)
		}
		got = append(got, fmt.Sprint(item.Key[:4], item.Attributes))
	}
	slices.Sort(got)
	want := []string{"100_[{age 100} {sex male} {ethnicity White}]", "39_1[{age 39} {sex female} {ethnicity }]", "61_3[{age 61} {sex } {ethnicity Asian}]", "7_1_[{age 7} {sex female} {ethnicity Others}]"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}
