package page

import (
	"bytes"
	"encoding"
	"encoding/json"
	"flag"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"facepipe/eval/report"
	"facepipe/eval/verification"
	"facepipe/store/storetest"
)

var updateSchema = flag.Bool("update", false, "write docs/report.schema.json anew")

const schemaFile = "../docs/report.schema.json"

// model leaves out the figures of pairs where there are none.
var model = reflect.TypeFor[report.Model]()

// schemaOf makes a JSON Schema of Go types: the shape from the types, the words from their
// comments.
type schemaOf struct {
	t     *testing.T
	defs  map[string]any
	words map[string]map[string]string // by package: "Type" and "Type.Field"
}

// reference is what stands for a type.
func (s *schemaOf) reference(t reflect.Type) map[string]any {
	switch {
	case t == reflect.TypeFor[json.RawMessage](), t.Kind() == reflect.Interface:
		return map[string]any{}
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return map[string]any{"type": "string"}
	case t == model: // writes itself, but its fields
	case t.Implements(reflect.TypeFor[json.Marshaler]()), reflect.PointerTo(t).Implements(reflect.TypeFor[json.Marshaler]()):
		return map[string]any{}
	}
	switch t.Kind() {
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Pointer:
		return s.reference(t.Elem())
	case reflect.Slice:
		return map[string]any{"type": []string{"array", "null"}, "items": s.reference(t.Elem())}
	case reflect.Array:
		return map[string]any{"type": "array", "items": s.reference(t.Elem()), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Map:
		return map[string]any{"type": []string{"object", "null"}, "additionalProperties": s.reference(t.Elem())}
	case reflect.Struct:
		return map[string]any{"$ref": "#/$defs/" + s.define(t)}
	}
	if t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64 {
		return map[string]any{"type": "integer"}
	}
	s.t.Fatalf("no schema for %s", t)
	return nil
}

// define adds the definition of a struct.
func (s *schemaOf) define(t reflect.Type) string {
	name := strings.ReplaceAll(t.String(), ".", "_")
	if s.defs[name] != nil {
		return name
	}
	properties, required := map[string]any{}, []string{}
	object := map[string]any{"type": "object", "properties": properties}
	s.defs[name] = object
	if words := s.said(t, t.Name()); words != "" {
		object["description"] = words
	}
	s.fields(t, properties, &required, true)
	if t == model {
		var figures []string
		s.fields(reflect.TypeFor[verification.Result](), map[string]any{}, &figures, true)
		required = append(required, "pairs", "same", "different")
		object["if"] = map[string]any{"properties": map[string]any{"pairs": map[string]any{"minimum": 1}}}
		object["then"] = map[string]any{"required": figures}
	}
	if len(required) > 0 {
		object["required"] = required
	}
	return name
}

// fields adds those of a struct, and those of structs in it that have no name there.
func (s *schemaOf) fields(t reflect.Type, properties map[string]any, required *[]string, must bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
			continue
		case f.Anonymous && name == "":
			inside := f.Type
			if inside.Kind() == reflect.Pointer {
				inside = inside.Elem()
			}
			s.fields(inside, properties, required, must && f.Type.Kind() != reflect.Pointer && t != model)
			continue
		case name == "":
			name = f.Name
		}
		property := s.reference(f.Type)
		optional := strings.Contains(options, "omit")
		if f.Type.Kind() == reflect.Pointer && !optional {
			property = map[string]any{"anyOf": []any{property, map[string]any{"type": "null"}}}
		}
		if words := s.said(t, t.Name()+"."+f.Name); words != "" {
			property["description"] = words
		}
		properties[name] = property
		if must && !optional {
			*required = append(*required, name)
		}
	}
}

// said is the comment of a type or a field.
func (s *schemaOf) said(t reflect.Type, name string) string {
	dir, ours := strings.CutPrefix(t.PkgPath(), "facepipe/")
	if !ours {
		return ""
	}
	if s.words[dir] == nil {
		s.words[dir] = comments(s.t, filepath.Join("..", dir))
	}
	return s.words[dir][name]
}

// comments are those of the types of a package and of their fields.
func comments(t *testing.T, dir string) map[string]string {
	t.Helper()
	words := map[string]string{}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			group, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range group.Specs {
				if one, ok := spec.(*ast.TypeSpec); ok {
					text := one.Doc
					if text == nil {
						text = group.Doc
					}
					words[one.Name.Name] = sentence(text)
					fieldComments(one, words)
				}
			}
		}
	}
	return words
}

func fieldComments(one *ast.TypeSpec, words map[string]string) {
	fields, ok := one.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range fields.Fields.List {
		text := f.Doc
		if text == nil {
			text = f.Comment
		}
		for _, name := range f.Names {
			words[one.Name.Name+"."+name.Name] = sentence(text)
		}
	}
}

// sentence is a comment in one line, without the brackets of links.
func sentence(text *ast.CommentGroup) string {
	var p comment.Parser
	plain := (&comment.Printer{TextWidth: -1}).Text(p.Parse(text.Text()))
	line := strings.Join(strings.Fields(string(plain)), " ")
	return strings.NewReplacer("[", "", "]", "").Replace(line)
}

// madeSchema is the schema of a report.
func madeSchema(t *testing.T) []byte {
	t.Helper()
	s := schemaOf{t, map[string]any{}, map[string]map[string]string{}}
	root := s.define(reflect.TypeFor[report.Report]())
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "report.json of pipe eval",
		"description": "Keys may be added. None changes its meaning, and a figure that cannot be measured is absent.",
		"$ref":        "#/$defs/" + root, "$defs": s.defs,
	}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// compiled is the published schema, ready to validate.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("report.schema.json", parsed); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// The published schema is that of the report's types; -update writes it.
func TestSchemaIsOfTheTypes(t *testing.T) {
	made := madeSchema(t)
	if *updateSchema {
		storetest.Golden(t, schemaFile, made, true)
	}
	if published, err := os.ReadFile(schemaFile); err != nil || !bytes.Equal(published, made) {
		t.Errorf("docs/report.schema.json is not of the report's types: go test ./page -run Schema -update writes it (%v)", err)
	}
}

func TestSchemaTakesReports(t *testing.T) {
	schema := compiled(t)
	validate := func(change func(r map[string]any)) error {
		text, err := os.ReadFile("../eval/testdata/golden/report.json")
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		change(v.(map[string]any))
		return schema.Validate(v)
	}
	if err := validate(func(map[string]any) {}); err != nil {
		t.Errorf("a report: %v", err)
	}
	model := func(r map[string]any) map[string]any { return r["models"].([]any)[0].(map[string]any) }
	for name, change := range map[string]func(r map[string]any){
		"no dataset":           func(r map[string]any) { delete(r, "dataset") },
		"a word as a figure":   func(r map[string]any) { model(r)["auc"] = "high" },
		"half a pair":          func(r map[string]any) { model(r)["pairs"] = json.Number("0.5") },
		"a model without auc":  func(r map[string]any) { delete(model(r), "auc") },
		"models are no object": func(r map[string]any) { r["models"] = map[string]any{} },
	} {
		if validate(change) == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if err := validate(func(r map[string]any) { r["from_a_newer_pipe"], model(r)["also"] = true, 1 }); err != nil {
		t.Errorf("of a newer pipe: %v", err)
	}
}
