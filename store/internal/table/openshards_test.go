package table

import "testing"

// counted counts how often it was closed.
type counted struct{ closed int }

func (c *counted) Close() error { c.closed++; return nil }

// The views of one shard share it, and the last to close closes it.
func TestOpenShards(t *testing.T) {
	var shards OpenShards[*counted]
	opened := 0
	view := func() *View[*counted] {
		v, err := shards.View(3, func() (*counted, error) { opened++; return new(counted), nil })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	a, b := view(), view()
	c := a.Retain()
	shard := a.Use()
	for _, v := range []*View[*counted]{a, a, b} {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
	if opened != 1 || len(shards.open) != 1 || shard.closed != 0 || c.Use() != shard {
		t.Errorf("opened %d times, %d are open, closed %d times", opened, len(shards.open), shard.closed)
	}
	if err := c.Close(); err != nil || len(shards.open) != 0 || shard.closed != 1 {
		t.Errorf("%d are open, closed %d times, %v", len(shards.open), shard.closed, err)
	}
	view().Use()
	if opened != 2 {
		t.Errorf("opened %d times", opened)
	}
}
