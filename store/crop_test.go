package store_test

import (
	"slices"
	"testing"

	"facepipe/store"
	"facepipe/store/storetest"
)

func TestID(t *testing.T) {
	rgb := make([]byte, 3*8*8)
	id := store.CropID(storetest.Contract, rgb)
	back, err := store.ParseID(id.String())
	if err != nil || back != id || len(id.String()) != 32 {
		t.Errorf("%v, %v", back, err)
	}
	var text store.ID
	if err := text.UnmarshalText([]byte(id.String())); err != nil || text != id {
		t.Errorf("%v, %v", text, err)
	}
	for _, s := range []string{"", "12", id.String() + "0", "g" + id.String()[1:]} {
		if _, err := store.ParseID(s); err == nil {
			t.Errorf("%q is an id", s)
		}
	}
	other := storetest.Contract
	other.Template = "another"
	rgb2 := slices.Clone(rgb)
	rgb2[100]++
	if store.CropID(other, rgb) == id || store.CropID(storetest.Contract, rgb2) == id {
		t.Error("different crops have one id")
	}
	other = storetest.Contract
	other.Decoder = "another"
	if store.CropID(other, rgb) != id {
		t.Error("the decoder is in the id")
	}
	defer func() {
		if recover() == nil {
			t.Error("a crop of another size has an id")
		}
	}()
	store.CropID(storetest.Contract, rgb[1:])
}
