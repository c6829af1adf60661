package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/store/storetest"
)

// crafted is a change to a file whose checksums are made right again, as a stranger can make them.
type crafted struct {
	path, manifest string // relative to the world
	at             int
	change         func(data []byte)
	detail         string
}

// manifestsOf are the Arrow files and the files of the index below a dataset, each with the sealed
// JSON file that has its checksums.
func manifestsOf(world, dataset string) (files map[string]string) {
	files = map[string]string{}
	_ = filepath.WalkDir(filepath.Join(world, dataset), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || strings.Contains(path, "/teachers/other/") {
			return nil
		}
		rel, _ := filepath.Rel(world, path)
		dir := filepath.Dir(rel)
		switch base := filepath.Base(dir); {
		case base == "index" && e.Name() != "BUILT.json":
			files[rel] = filepath.Join(dir, "BUILT.json")
		case filepath.Ext(rel) != ".arrow":
		case base == "centres", base == "neighbours", base == "classifier":
			files[rel] = filepath.Join(dir, base+".json")
		default:
			files[rel] = strings.TrimSuffix(rel, ".arrow") + ".json"
		}
		return nil
	})
	return files
}

// craftedTables changes single words of Arrow files, above all of their frames and of what says
// how long and where columns are, and bytes of the index, and makes all checksums right.
func (a *attack) craftedTables() {
	target := a.ground.targets[0]
	if target.verbs[0].took == 0 { // the damages were left out
		target.usual(a.t)
	}
	l := target.lanes[0]
	files := manifestsOf(l.whole, "faces.ds")
	var readers []*reader
	for _, v := range target.verbs {
		text := strings.Join(v.args, " ")
		for _, wanted := range []string{"check ", "info", "export faces.ds --to npy", "teachers centres faces.ds tiny --rebuild", "distill", "eval", "ingest --source folder=more"} {
			if strings.HasPrefix(text, wanted) {
				readers = append(readers, v)
			}
		}
	}
	rng := rand.New(rand.NewPCG(20, 8))
	var all []crafted
	kinds := map[string]bool{}
	for _, path := range sortedKeys(files) {
		if kind := sameKind(path); !kinds[kind] {
			kinds[kind] = true
			all = append(all, a.craft(l.whole, path, files[path], rng)...)
		}
	}
	lanes := make(chan lane, len(target.lanes))
	for _, l := range target.lanes {
		lanes <- l
	}
	var jobs []func()
	for i, c := range all {
		jobs = append(jobs, func() {
			l := <-lanes
			defer func() { lanes <- l }()
			for j, v := range readers {
				if v.costly && (i+j)%(3*a.costlyOne()/2) != 0 || !a.full && !v.check {
					continue
				}
				a.tryCrafted(l, v, c)
			}
		})
	}
	each(jobs)
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// craft are changes to a file.
func (a *attack) craft(world, path, manifest string, rng *rand.Rand) (all []crafted) {
	data, err := os.ReadFile(filepath.Join(world, path))
	if err != nil {
		a.t.Fatal(err)
	}
	places := wordsOfFrame(world, path, manifest, len(data))
	n := 6
	if a.full {
		n = 150
	}
	if strings.Contains(path, "/index/") {
		n /= 4
		all = append(all, crafted{path, manifest, len(data) / 2, nil, "cut in half"})
	}
	values := []uint32{0, 1, 0x7fffffff, 0xffffffff, 0x80000000, 0x00ffffff, 0xfffffff0, 0x4000}
	for range n {
		at, value := places[rng.IntN(len(places))], values[rng.IntN(len(values))]
		all = append(all, crafted{path, manifest, at, func(data []byte) {
			if at+4 <= len(data) {
				binary.LittleEndian.PutUint32(data[at:], value)
			}
		}, fmt.Sprintf("word at %d is %#x", at, value)})
	}
	return all
}

// wordsOfFrame are the places of words in what is not a batch's body: frame, schema, footer, and
// the heads of batches; of a file that is no table, all of it.
func wordsOfFrame(world, path, manifest string, size int) (places []int) {
	var batches []batch
	if filepath.Ext(path) == ".arrow" {
		if text, err := os.ReadFile(filepath.Join(world, manifest)); err == nil {
			batches = describedIn(text, sumOf(filepath.Join(world, path))).Batches
		}
	}
	inside := func(at int) bool {
		for _, b := range batches {
			// What says where the columns are stands in the first bytes of a batch.
			if at >= b.Offset+512 && at < b.Offset+b.Bytes {
				return true
			}
		}
		return false
	}
	for at := 0; at+4 <= size; at += 4 {
		if !inside(at) {
			places = append(places, at)
		}
	}
	if len(places) == 0 {
		places = []int{0}
	}
	return places
}

// described is what a manifest says of an Arrow file.
type described struct {
	SHA256  string  `json:"sha256"`
	Frame   string  `json:"frame_crc32c"`
	Batches []batch `json:"batches"`
}

type batch struct {
	Offset  int    `json:"offset"`
	Bytes   int    `json:"bytes"`
	Payload int    `json:"payload_bytes"`
	Columns string `json:"columns_crc32c"`
	Values  string `json:"payload_crc32c"`
}

func sumOf(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// describedIn finds in a manifest's text the file that has a digest.
func describedIn(text []byte, sum string) (found described) {
	var walk func(v json.RawMessage)
	walk = func(v json.RawMessage) {
		var d described
		if json.Unmarshal(v, &d) == nil && d.SHA256 == sum && d.Frame != "" {
			found = d
		}
		var members map[string]json.RawMessage
		var list []json.RawMessage
		if json.Unmarshal(v, &members) == nil {
			for _, m := range members {
				walk(m)
			}
		} else if json.Unmarshal(v, &list) == nil {
			for _, m := range list {
				walk(m)
			}
		}
	}
	walk(text)
	return found
}

// tryCrafted writes a crafted file and its manifest, and runs a verb.
func (a *attack) tryCrafted(l lane, v *reader, c crafted) {
	l.fresh(a.t)
	path, manifest := filepath.Join(l.world, c.path), filepath.Join(l.world, c.manifest)
	data, err := os.ReadFile(path)
	text, err2 := os.ReadFile(manifest)
	if err := errors.Join(err, err2); err != nil {
		a.t.Error(err)
		return
	}
	changed := slices.Clone(data)
	if c.change != nil {
		c.change(changed)
	} else {
		changed = changed[:c.at]
	}
	text = storetest.Reseal([]byte(rightened(string(text), filepath.Base(path), data, changed)))
	if err := errors.Join(os.WriteFile(path, changed, 0o644), os.WriteFile(manifest, text, 0o644)); err != nil {
		a.t.Error(err)
		return
	}
	h := strike(a.t, l.world, v.limit(), nil, v.args...)
	row, index := "crafted table, checksums right", strings.Contains(c.path, "/index/")
	if index {
		row = "crafted index, checksums right"
	}
	verdict, why := unharmed, ""
	switch says := h.says([]string{c.path, c.manifest}); {
	case h.hung:
		verdict = hung
	case h.crashed():
		verdict = crashed
	case h.peak > v.peak+memorySlack+8*int64(len(data)):
		verdict = swollen
	case says, index && h.code != exitDone && h.says([]string{"index"}): // its files are one thing to a user
		verdict = named
	case h.code != exitDone:
		verdict = unnamed
	case index: // a table may say what it likes if it is well made; an index may not
		if why = v.usual.differs(leavesOf(l.world, v.out, h)); why != "" {
			verdict = lost
		}
	}
	a.note(row, v.name()+", "+sameKind(c.path), verdict, h, fmt.Sprintf("%s: %s\npipe %s\n%s\n%s", c.path, c.detail, strings.Join(v.args, " "), why, h.excerpt()))
}

// rightened is a manifest in which the checksums of a file are those of its changed bytes.
func rightened(text, name string, data, changed []byte) string {
	if !strings.HasSuffix(name, ".arrow") {
		was, is := fmt.Sprintf("%08x", checksumOf(data)), fmt.Sprintf("%08x", checksumOf(changed))
		text = strings.Replace(text, was, is, 1)
		return strings.Replace(text, fmt.Sprintf("\"name\": %q,\n      \"bytes\": %d", name, len(data)), fmt.Sprintf("\"name\": %q,\n      \"bytes\": %d", name, len(changed)), 1)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(data))
	d := describedIn([]byte(text), sum)
	was, is := checksumsOf(d, data), checksumsOf(d, changed)
	text = strings.Replace(text, sum, fmt.Sprintf("%x", sha256.Sum256(changed)), 1)
	for i := range was {
		if was[i] != "00000000" {
			text = strings.Replace(text, `"`+was[i]+`"`, `"`+is[i]+`"`, 1)
		}
	}
	return text
}

// checksumsOf are those of a table's frame and batches.
func checksumsOf(d described, data []byte) (sums []string) {
	frame, from := uint32(0), 0
	for _, b := range d.Batches {
		frame = extended(frame, data[from:b.Offset])
		from = b.Offset + b.Bytes
		payload := from - b.Payload
		sums = append(sums, fmt.Sprintf("%08x", checksumOf(data[b.Offset:payload])), fmt.Sprintf("%08x", checksumOf(data[payload:from])))
	}
	return append(sums, fmt.Sprintf("%08x", extended(frame, data[from:])))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksumOf(data []byte) uint32 { return extended(0, data) }

func extended(sum uint32, data []byte) uint32 { return crc32.Update(sum, castagnoli, data) }
