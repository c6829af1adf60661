package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// updateReliability is for the long form: what it found becomes the table of docs/reliability.md.
var updateReliability = flag.Bool("update", false, "write the tables of docs/reliability.md anew")

// attackFull is whether the attack is the long one: make test-attack.
func attackFull() bool { return os.Getenv("PIPE_ATTACK") == "yes" }

// TestAttack damages every file that the program keeps, hands it files as a stranger would make
// them, and wants each verb to give the same result as before or to refuse and name the file: in
// bounded time and memory, without a crash, and with nothing written elsewhere. The short form
// takes a sample; the long form (make test-attack) takes all and writes the table.
func TestAttack(t *testing.T) {
	a := &attack{t: t, full: attackFull(), rows: map[string]*tally{}}
	a.ground = newGround(t, a.full)
	for _, part := range []struct {
		name string
		do   func()
	}{{"damages", a.damages}, {"crafted", a.craftedTables}, {"inputs", a.hostileInputs}, {"kills", a.kills}} {
		if part.name == "kills" && !a.full { // the tests of kills run anyway
			continue
		}
		t.Run(part.name, func(t *testing.T) {
			a.t = t
			part.do()
		})
	}
	a.t = t
	a.report()
}

// attack is what was tried, and how it ended.
type attack struct {
	t      *testing.T
	full   bool
	ground *ground

	mu    sync.Mutex
	order []string // of rows
	rows  map[string]*tally
	bad   map[string]*finding
}

// tally is a row of the table.
type tally struct {
	tried, unharmed, named int
	bad                    [verdicts]int
	peak                   int64 // bytes
	slowest                time.Duration
}

// verdict is how a run ended that met with damage.
type verdict int

// Of these no run may be, but the first two: its result was that of undamaged files, or it said
// which file is at fault.
const (
	unharmed verdict = iota
	named
	unnamed  // refused without the file's name
	lost     // another result, and not a word of it
	hung     // not done in many times the usual time
	crashed  // by a signal, a panic or a fatal error
	swollen  // used more memory than it may
	strayed  // changed files elsewhere
	verdicts = iota
)

var verdictNames = [verdicts]string{"unharmed", "refused, named", "refused, unnamed", "lost", "hung", "crashed", "too much memory", "wrote elsewhere"}

// finding is one of those that ended badly, for all that ended alike.
type finding struct {
	row, what string
	verdict   verdict
	times     int
}

// note counts a run. what says which verb met with what kind of file.
func (a *attack) note(row, what string, v verdict, h hit, detail string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.row(row)
	r.tried++
	r.peak, r.slowest = max(r.peak, h.peak), max(r.slowest, h.took)
	switch v {
	case unharmed:
		r.unharmed++
	case named:
		r.named++
	default:
		r.bad[v]++
		if a.bad == nil {
			a.bad = map[string]*finding{}
		}
		key := fmt.Sprint(row, what, v)
		if a.bad[key] == nil {
			a.bad[key] = &finding{row: row, what: what, verdict: v}
			a.t.Errorf("%s: %s: %s\n%s", row, verdictNames[v], what, detail)
		}
		a.bad[key].times++
	}
}

// row is a row of the table; the lock is held.
func (a *attack) row(name string) *tally {
	if a.rows[name] == nil {
		a.rows[name] = &tally{}
		a.order = append(a.order, name)
	}
	return a.rows[name]
}

// each runs jobs, some at a time: more than there are cores, as a job that hangs takes none.
func each(jobs []func()) {
	queue := make(chan func())
	var group sync.WaitGroup
	for range 2 + runtime.NumCPU() {
		group.Go(func() {
			for job := range queue {
				job()
			}
		})
	}
	for _, job := range jobs {
		queue <- job
	}
	close(queue)
	group.Wait()
}

// report counts what ended badly, and writes the table.
func (a *attack) report() {
	a.t.Log("\n" + a.table())
	for _, key := range slices.Sorted(func(yield func(string) bool) {
		for key := range a.bad {
			if !yield(key) {
				return
			}
		}
	}) {
		f := a.bad[key]
		a.t.Errorf("%d times %s: %s: %s", f.times, verdictNames[f.verdict], f.row, f.what)
	}
	if *updateReliability {
		if run := flag.Lookup("test.run").Value.String(); !a.full || strings.Contains(run, "/") {
			a.t.Fatal("-update wants PIPE_ATTACK=yes and all parts, or the table would be one of a sample")
		}
		if err := replaceBetween(filepath.Join("..", "..", "docs", "reliability.md"), "attack", a.table()); err != nil {
			a.t.Fatal(err)
		}
	}
}

// table is the rows as Markdown, with their sum.
func (a *attack) table() string {
	var b strings.Builder
	b.WriteString("| what was done | tried | same result | refused, named |")
	for _, name := range verdictNames[unnamed:] {
		b.WriteString(" " + name + " |")
	}
	b.WriteString(" peak memory | slowest |\n|---|" + strings.Repeat("--:|", 3+int(verdicts-unnamed)+2) + "\n")
	sum := &tally{}
	for _, name := range a.order {
		r := a.rows[name]
		r.write(&b, name)
		sum.tried += r.tried
		sum.unharmed += r.unharmed
		sum.named += r.named
		for v := range r.bad {
			sum.bad[v] += r.bad[v]
		}
		sum.peak, sum.slowest = max(sum.peak, r.peak), max(sum.slowest, r.slowest)
	}
	sum.write(&b, "**all**")
	return b.String()
}

func (r *tally) write(b *strings.Builder, name string) {
	fmt.Fprintf(b, "| %s | %d | %d | %d |", name, r.tried, r.unharmed, r.named)
	for _, n := range r.bad[unnamed:] {
		fmt.Fprintf(b, " %d |", n)
	}
	if r.peak == 0 { // nobody measured
		b.WriteString(" – | – |\n")
		return
	}
	fmt.Fprintf(b, " %d MiB | %.1f s |\n", r.peak>>20, r.slowest.Seconds())
}

// replaceBetween puts text between the two comments of a page that have a name.
func replaceBetween(page, name, text string) error {
	data, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->\n"
	head, rest, found := strings.Cut(string(data), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		return errors.New(page + " has no place for the table " + name)
	}
	return os.WriteFile(page, []byte(head+begin+"\n"+text+"\n"+end+tail), 0o644)
}
