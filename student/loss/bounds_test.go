package loss

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Every number of every loss has a bound in both directions, and who passes it is told which
// setting it is: no setting can ask for more memory than there is, or for a number of steps that
// is none.
func TestEverySettingIsBounded(t *testing.T) {
	for _, l := range All() {
		numbers := numbersOf(reflect.ValueOf(l.defaults), "")
		for key, f := range numbersOf(reflect.ValueOf(Schedule{}), "schedule.") {
			numbers[key] = f
		}
		for key, f := range numbers {
			values := []string{strconv.Itoa(math.MaxInt64), strconv.Itoa(2 * mostNumber)}
			if f.CanFloat() {
				values = append(values, "1e300", ".inf", ".nan", "-1e300")
			}
			for _, value := range values {
				c := Config{Name: l.Name}
				text := nested(l.Name+"."+key, value)
				if err := yaml.Unmarshal([]byte(text), &c); err != nil {
					t.Fatal(err)
				}
				last := key[strings.LastIndex(key, ".")+1:]
				if err := c.Validate(); err == nil || !strings.Contains(err.Error(), last) {
					t.Errorf("%s: %v", text, err)
				}
			}
		}
	}
}

// So have the weights in an expression.
func TestWeightsAreBounded(t *testing.T) {
	for _, weight := range []string{"2000000000", "1e300", "Inf", "nan", "-1"} {
		if _, err := Parse("cosine + " + weight + "*l2"); err == nil || !strings.Contains(err.Error(), weight) {
			t.Errorf("%s: %v", weight, err)
		}
	}
}

// What is not too large by itself may be with the length of the embeddings.
func TestBanksAreBounded(t *testing.T) {
	for text, want := range map[string]string{
		"{name: unified, rpsd: {bank: 16000000, repeats: keep}}":    "rpsd.bank",
		"{name: icd, icd: {bank_crops: 16000000}}":                  "bank_crops",
		"{name: coupleface, coupleface: {identities: 16000000}}":    "identities",
		"{name: unified, rpsd: {bank: 16777217}}":                   "rpsd.bank",
		"{name: icd, icd: {crops_per_identity: 65537}}":             "crops_per_identity",
		"{name: unified, rpsd: {bank: 16000000, negatives: 65537}}": "negatives",
	} {
		var c Config
		if err := yaml.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
		if _, err := New(c, Env{Device: "cpu", Dim: 512, OwnDim: 512, Classes: 1 << 24}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "at most") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
