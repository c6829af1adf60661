package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// damage is something done to a file of a world.
type damage struct {
	kind   string // of the table
	detail string
	// do damages a file, of which it gets the path, and outside, a folder that no verb was told of.
	do func(path, outside string) error
	// other is a second file that it concerns, relative to the world.
	other    string
	wrapper  []string // what the program is run by
	folder   bool     // it is for folders
	harmless bool     // what is read through it may be the same
}

// letter is what the files hold that no verb may touch.
const letter = "a letter to somebody\n"

// withoutOverride runs a program as root who may not read what its permissions forbid.
func withoutOverride() []string {
	if os.Geteuid() != 0 {
		return []string{"env"}
	}
	path, err := exec.LookPath("setpriv")
	if err != nil {
		return nil
	}
	return []string{path, "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"}
}

// damagesOf are those of a file of a size. flips is how many bits are flipped, one at a time:
// in its head, its tail, and between.
func damagesOf(size int64, flips int, rng *rand.Rand) (all []damage) {
	rewrite := func(kind, detail string, change func([]byte) []byte) {
		all = append(all, damage{kind: kind, detail: detail, do: func(path, _ string) error {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, change(data), 0o644)
		}})
	}
	if size > 0 {
		rewrite("emptied", "", func([]byte) []byte { return nil })
		for _, keep := range []int64{1, size / 2, size - 1} {
			if keep > 0 && keep < size {
				rewrite("cut short", fmt.Sprintf("to %d of %d bytes", keep, size), func(data []byte) []byte {
					return data[:min(keep, int64(len(data))-1)] // a plan names its folder: in another lane it may be shorter
				})
			}
		}
		for i := range flips {
			at, bit := flipAt(i, size, rng), byte(1)<<rng.IntN(8)
			rewrite("a bit flipped", fmt.Sprintf("of byte %d of %d by %#02x", at, size, bit), func(data []byte) []byte {
				data[min(at, int64(len(data))-1)] ^= bit // sizes differ a little: a run says how long it took
				return data
			})
		}
		sector := rng.Int64N(size)
		rewrite("a sector zeroed", fmt.Sprintf("from byte %d of %d", sector, size), func(data []byte) []byte {
			clear(data[min(sector, int64(len(data))):min(sector+512, int64(len(data)))])
			return data
		})
	}
	rewrite("grown", "by 4096 zeros", func(data []byte) []byte { return append(data, make([]byte, 4096)...) })
	return append(all, replacements()...)
}

// flipAt is a byte: the first of a file, the last, or any.
func flipAt(i int, size int64, rng *rand.Rand) int64 {
	edge := min(size, 64)
	switch i % 4 {
	case 0:
		return rng.Int64N(edge)
	case 1:
		return size - 1 - rng.Int64N(edge)
	}
	return rng.Int64N(size)
}

// replacements put something else in a file's place.
func replacements() []damage {
	instead := func(kind string, put func(path, outside string) error) damage {
		return damage{kind: kind, do: func(path, outside string) error {
			return errors.Join(os.Remove(path), put(path, outside))
		}}
	}
	return append([]damage{
		instead("deleted", func(string, string) error { return nil }),
		instead("a folder instead", func(path, _ string) error { return os.Mkdir(path, 0o755) }),
		instead("a named pipe instead", func(path, _ string) error { return syscall.Mkfifo(path, 0o644) }),
		instead("a link to /dev/zero", func(path, _ string) error { return os.Symlink("/dev/zero", path) }),
		instead("a link into the void", func(path, outside string) error { return os.Symlink(filepath.Join(outside, "nothing"), path) }),
		instead("a link to a letter", func(path, outside string) error { return os.Symlink(filepath.Join(outside, "letter"), path) }),
		{kind: "a link to itself elsewhere", harmless: true, do: func(path, outside string) error {
			there := filepath.Join(outside, filepath.Base(path))
			return errors.Join(os.Rename(path, there), os.Symlink(there, path))
		}},
		instead("1 TiB of nothing", func(path, _ string) error {
			return errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, 1<<40))
		}),
	}, unreadable()...)
}

func unreadable() []damage {
	wrapper := withoutOverride()
	if wrapper == nil {
		return nil
	}
	return []damage{{kind: "unreadable", wrapper: wrapper, do: func(path, _ string) error { return os.Chmod(path, 0) }}}
}

// elsewhere moves a folder and puts a link in its place.
func elsewhere() damage {
	return damage{kind: "a folder's link elsewhere", folder: true, harmless: true, do: func(path, outside string) error {
		there := filepath.Join(outside, filepath.Base(path))
		return errors.Join(os.Rename(path, there), os.Symlink(there, path))
	}}
}

// swapped changes places with another file.
func swapped(path, other string) damage {
	return damage{kind: "two files swapped", detail: "with " + other, other: other, do: func(full, _ string) error {
		second := filepath.Join(strings.TrimSuffix(full, path), other)
		return errors.Join(os.Rename(full, full+"~"), os.Rename(second, full), os.Rename(full+"~", second))
	}}
}

// blow is a damage to a file of a target.
type blow struct {
	path   string // relative to the world
	damage damage
}

// blows are all that is done to a target.
func (target *target) blows(full bool, rng *rand.Rand) (all []blow) {
	whole := target.lanes[0].whole
	kinds := map[string]int{}
	last := map[string]string{}
	for _, root := range target.roots {
		_ = filepath.WalkDir(filepath.Join(whole, root), func(full_ string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			path, _ := filepath.Rel(whole, full_)
			if target.spare != "" && strings.HasSuffix(path, target.spare) {
				return fs.SkipDir
			}
			if e.IsDir() {
				if path != root {
					all = append(all, blow{path, elsewhere()})
				}
				return nil
			}
			// Of many files that are called alike, a few tell all.
			kind := sameKind(path)
			if before := last[kind]; before != "" && kinds[kind] < 4 {
				all = append(all, blow{before, swapped(before, path)})
			}
			last[kind] = path
			if kinds[kind]++; kinds[kind] > 2 {
				return nil
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			flips := 4
			if full {
				flips = 12
			}
			for _, d := range damagesOf(info.Size(), flips, rng) {
				all = append(all, blow{path, d})
			}
			return nil
		})
	}
	return all
}

// digits are what differs between the names of files of one kind; rows of a study are called by their
// settings, too.
var digits = regexp.MustCompile(`rows/[^/]+|[0-9a-f]{6,}|[0-9]+`)

func sameKind(path string) string { return digits.ReplaceAllString(path, "#") }

// excused are the files in which check need not see a damage, since nothing is lost by it.
var excused = regexp.MustCompile(`\.lock[^/]*$` + // says who holds it
	`|/index/` + // derived: every look-up is verified
	`|/rejects\.jsonl$` + // derived from the manifests
	`|/runs/[^/]*$` + // records, any of which may be deleted
	`|/tensorboard/|\.svg$|\.md$|\.csv$`) // for people

// damages tries all verbs of all targets on all damages; the short form a sample of these.
func (a *attack) damages() {
	rng := rand.New(rand.NewPCG(20, 7))
	whole := a.t
	defer func() { a.t = whole }()
	for _, target := range a.ground.targets {
		blows := target.blows(a.full, rng)
		if !a.full {
			rng.Shuffle(len(blows), func(i, j int) { blows[i], blows[j] = blows[j], blows[i] })
			blows = oneOfEachKind(blows)
		}
		whole.Run(target.name, func(t *testing.T) {
			a.t = t
			target.usual(t)
			each(a.jobs(target, blows))
		})
	}
}

// jobs try the verbs of a target on damages, as many at a time as it has lanes.
func (a *attack) jobs(target *target, blows []blow) (jobs []func()) {
	lanes := make(chan lane, len(target.lanes))
	for _, l := range target.lanes {
		lanes <- l
	}
	for i, b := range blows {
		jobs = append(jobs, func() {
			l := <-lanes
			defer func() { lanes <- l }()
			for j, v := range target.verbs {
				if v.costly && (i+j)%a.costlyOne() != 0 || !v.check && (i+j)%4 != 0 {
					continue
				}
				a.blow(target, l, v, b)
			}
		})
	}
	return jobs
}

// costlyOne is with one of how many damages a costly verb is tried.
func (a *attack) costlyOne() int {
	if a.full {
		return 16
	}
	return 40
}

// oneOfEachKind is the sample of the short form: every damage once, each to another file.
func oneOfEachKind(blows []blow) (sample []blow) {
	met := map[string]int{}
	for _, b := range blows {
		if met[b.damage.kind]++; met[b.damage.kind] == 1 {
			sample = append(sample, b)
		}
	}
	return sample
}

// blow damages a lane's world, runs a verb there and judges it.
func (a *attack) blow(target *target, l lane, v *reader, b blow) {
	l.fresh(a.t)
	outside := filepath.Join(filepath.Dir(l.world), "outside")
	path := filepath.Join(l.world, b.path)
	info, err := os.Lstat(path)
	if err != nil {
		return // this world has given the file another name: records of runs are called at random
	}
	size := info.Size()
	err = errors.Join(os.RemoveAll(outside), os.Mkdir(outside, 0o755), os.WriteFile(filepath.Join(outside, "letter"), []byte(letter), 0o644), b.damage.do(path, outside))
	if err != nil {
		a.t.Errorf("%s, %s: %v", b.path, b.damage.kind, err)
		return
	}
	before := fingerprint(outside)
	h := strike(a.t, l.world, v.limit(), b.damage.wrapper, v.args...)
	verdict, why := a.judge(target, l, v, b, h, size)
	if after := fingerprint(outside); after != before {
		verdict, why = strayed, fmt.Sprintf("outside was\n%s, is\n%s", before, after)
	}
	a.note(target.name+": "+b.damage.kind, v.name()+", "+sameKind(b.path), verdict, h,
		fmt.Sprintf("%s %s\npipe %s\n%s\n%s", b.path, b.damage.detail, strings.Join(v.args, " "), why, h.excerpt()))
}

// judge says how a run ended that met with damage.
func (a *attack) judge(target *target, l lane, v *reader, b blow, h hit, size int64) (verdict, string) {
	says := h.says(b.names())
	switch {
	case h.hung:
		return hung, ""
	case h.crashed():
		return crashed, ""
	case h.peak > v.peak+memorySlack+8*size:
		return swollen, fmt.Sprintf("usual are %d MiB", v.peak>>20)
	case h.code != exitDone && (says || strings.Contains(b.path, "/index/") && h.says([]string{"index"})): // one thing to a user
		return named, ""
	case h.code != exitDone:
		return unnamed, ""
	case says:
		return named, ""
	case v.check && !b.damage.harmless && !excused.MatchString(b.path):
		return lost, "check sees nothing"
	}
	if difference := v.usual.differs(leavesOf(l.world, v.out, h)); difference != "" {
		return lost, difference
	}
	return unharmed, ""
}

// names are what a message may call the file.
func (b blow) names() []string {
	names := []string{b.path}
	if b.damage.other != "" {
		names = append(names, b.damage.other)
	}
	if b.damage.kind == "deleted" || b.damage.folder {
		names = append(names, filepath.Dir(b.path))
	}
	return names
}

// fingerprint is what a folder holds, without the contents of what is large.
func fingerprint(dir string) string {
	var b strings.Builder
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			fmt.Fprintln(&b, path, err)
			return nil
		}
		rel, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&b, "%s %v %s\n", rel, e.Type(), digestOf(path))
		return nil
	})
	return b.String()
}
