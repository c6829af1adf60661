package loss

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
)

const (
	// mostNumber is how large a numeric setting of a loss may be, or its negative, where the tag
	// "most" of its field says nothing else: more is no weight, no temperature and no number of
	// steps.
	mostNumber = 1e9
	// mostBankBytes bounds the vectors of a bank, in float32.
	mostBankBytes = 8 << 30
)

// bounded reports the first number among the loss's settings that is larger than it may be, or
// is none, by its key in a config's section.
func (l Loss) bounded(s settings) error {
	if l.bare {
		return boundedIn(reflect.ValueOf(s), "")
	}
	return boundedIn(reflect.ValueOf(s), l.Name+".")
}

func boundedIn(v reflect.Value, path string) error {
	for i := range v.NumField() {
		field, f := v.Type().Field(i), v.Field(i)
		key, keyed := field.Tag.Lookup("yaml")
		var err error
		switch {
		case !keyed:
		case key == ",inline":
			err = boundedIn(f, path)
		case f.Kind() == reflect.Struct:
			err = boundedIn(f, path+key+".")
		case f.CanInt():
			err = atMost(path+key, float64(f.Int()), field.Tag.Get("most"))
		case f.CanUint():
			err = atMost(path+key, float64(f.Uint()), field.Tag.Get("most"))
		case f.CanFloat():
			err = atMost(path+key, f.Float(), field.Tag.Get("most"))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func atMost(key string, v float64, tag string) error {
	most := float64(mostNumber)
	if tag != "" {
		var err error
		if most, err = strconv.ParseFloat(tag, 64); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if math.Abs(v) <= most {
		return nil
	}
	return fmt.Errorf("%s %v is not a number of at most %.0f", key, v, most)
}

// bankFits reports a bank that is larger than memory should hold, by the setting of its size.
func bankFits(setting string, entries, dim int) error {
	if most := mostBankBytes / 4 / max(dim, 1); entries > most {
		return fmt.Errorf("%s: %d entries of %d numbers take more than %d GiB: give at most %d", setting, entries, dim, mostBankBytes>>30, most)
	}
	return nil
}
