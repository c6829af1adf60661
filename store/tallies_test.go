package store

import (
	"fmt"
	"reflect"
	"testing"
)

// However many reasons there are, few are kept, and those that come often.
func TestRejectTally(t *testing.T) {
	var tally rejectTally
	for i := range 3 * maxReasonsKept {
		tally.add("read", fmt.Sprintf("offset %d", i))
		tally.add("decode", fmt.Sprint("reason ", i%3))
	}
	tally.add("decode", "reason 1")
	list := tally.list()
	if len(list) != 2 || list[1].Count != 3*maxReasonsKept || len(list[1].Reasons) != maxReasonsListed || len(tally["read"].reasons) != maxReasonsKept {
		t.Errorf("%+v", list)
	}
	want := []ReasonCount{{"reason 1", maxReasonsKept + 1}, {"reason 0", maxReasonsKept}, {"reason 2", maxReasonsKept}}
	if !reflect.DeepEqual(list[0].Reasons, want) {
		t.Errorf("%+v", list[0])
	}
}
