package loss

import (
	"fmt"
	"reflect"
)

// Setting is one of a loss's settings.
type Setting struct {
	// Key is the path below the loss's section of a config, such as iled.mode.
	Key     string `json:"key"`
	Default string `json:"default"`
	About   string `json:"about"`
}

// Settings lists those of the loss, with the defaults that do not depend on a run.
func (l Loss) Settings() []Setting { return settingsOf(reflect.ValueOf(l.defaults), "") }

func settingsOf(v reflect.Value, path string) (list []Setting) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		switch key := f.Tag.Get("yaml"); {
		case key == "":
		case key == ",inline":
			list = append(list, settingsOf(v.Field(i), path)...)
		case f.Type.Kind() == reflect.Struct:
			list = append(list, settingsOf(v.Field(i), path+key+".")...)
		default:
			list = append(list, Setting{Key: path + key, Default: fmt.Sprint(v.Field(i)), About: f.Tag.Get("about")})
		}
	}
	return list
}
