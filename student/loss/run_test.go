package loss

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// What nothing is said of follows from the run, and what was said stays what it is.
func TestDefaultsByTheRun(t *testing.T) {
	old := config(t, "unified", "rpsd: {ramp: 7}").Earlier()
	for name, tt := range map[string]struct {
		section string
		run     Run
		want    string // bank, repeats, ramp, warm-up
		notes   string
	}{
		"few crops":   {"{}", Run{Crops: 942, Steps: 500}, `942 "replace" 55 55`, "bank of 942 entries for 942 crops;"},
		"mirrored":    {"{}", Run{Crops: 942, Flip: true, Steps: 500}, `1884 "replace" 55 55`, "for 942 crops and their mirror images; RPSD's ramp takes 55"},
		"many crops":  {"{}", Run{Crops: 1e6, Steps: 36000}, `16384 "replace" 4000 4000`, "bank of 16384 entries"},
		"said":        {"{iled: {warmup: 3}, rpsd: {bank: 100, ramp: 0}}", Run{Crops: 942, Steps: 500}, `100 "replace" 0 3`, ""},
		"none":        {"rpsd: {bank: 0}", Run{Crops: 942, Steps: 500}, `0 "replace" 55 55`, ""},
		"too large":   {"rpsd: {bank: 5000}", Run{Crops: 942, Steps: 500}, `942 "replace" 55 55`, "note: a bank of 5000 entries is more than can differ of 942 crops: it has 942"},
		"too small":   {"rpsd: {bank: 60}", Run{Crops: 942, Steps: 500}, `60 "replace" 55 55`, "smaller than the 64 negatives that are to be mined of it: it is used with what it has"},
		"too slow":    {"rpsd: {ramp: 500}", Run{Crops: 942, Steps: 500}, `942 "replace" 500 55`, "warning: loss.rpsd.ramp of 500 steps does not end within the run of 500"},
		"of before":   {"{}", Run{Crops: 942, Steps: 500, Recorded: &old}, `16384 "keep" 7 1000`, "warning: loss.iled.warmup of 1000 steps"},
		"kept, small": {"rpsd: {bank: 60}", Run{Crops: 942, Steps: 500, Recorded: &old}, `60 "keep" 7 1000`, "with repeats: keep it is not used"},
	} {
		c, notes, err := config(t, "unified", tt.section).For(tt.run)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			got := section(t, c, "rpsd.bank") + " " + section(t, c, "rpsd.repeats") + " " + section(t, c, "rpsd.ramp") + " " + section(t, c, "iled.warmup")
			if got != tt.want || !strings.Contains(strings.Join(notes, "\n"), tt.notes) {
				t.Errorf("%s: %s, want %s; notes %q", name, got, tt.want, notes)
			}
			// What is written means the same in any other run.
			text, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			c = config(t, "unified", string(text))
			if c, _, err = c.For(Run{Crops: 1e7, Steps: 1e6}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"cosine", "arcface"} {
		c, notes, err := config(t, name, "{}").For(Run{Crops: 5, Steps: 3, Recorded: &Config{Name: name}})
		if text, _ := json.Marshal(c); err != nil || len(notes) > 0 || strings.Contains(string(text), "bank") {
			t.Errorf("%s: %s, %v, %v", name, text, notes, err)
		}
	}
	if c := config(t, "unified", "rpsd: {repeats: often}"); !strings.Contains(fmt.Sprint(c.Validate()), "repeats") {
		t.Errorf("no such way: %v", c.Validate())
	}
}
