package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"facepipe/store/storetest"
	"facepipe/student/torch"
)

// ground is where the attack takes place: a small world of everything that the program keeps.
type ground struct {
	t       *testing.T
	base    string // the world as it is made
	targets []*target
	lanes   int
}

// target is a part of the world that is damaged, and the verbs that read it.
type target struct {
	name  string
	needs []string // entries of the world that its verbs want
	roots []string // of these, the ones that are damaged
	verbs []*reader
	// settle makes what must be made at its place, since it holds absolute paths.
	settle func(t *testing.T, world string)
	lanes  []lane
	spare  string // folders below the roots that are passed over: the like of another one
}

// lane is a place where one run at a time takes place: the world, and as it was.
type lane struct{ world, whole string }

// newGround makes the world. Everything is called as seen from its folder.
func newGround(t *testing.T, full bool) *ground {
	g := &ground{t: t, base: storetest.MemoryDir(t), lanes: 2}
	engine, err := torch.Library("").Path()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PIPE_ENGINE", engine)
	t.Setenv("PIPE_ONNXRUNTIME", anyRuntime(t))
	at := func(name string) string { return filepath.Join(g.base, name) }
	matrix, names := classifierFiles(t, 5, 192)
	move := map[string]string{"photos": alignedFaces(t, 5, 5), "more": alignedFaces(t, 6, 6), "tiny.onnx": tinyTeacher(t),
		"pairs.txt": pairsFile(t, 5, 5), "weight.npy": matrix, "people.txt": names}
	for name, from := range move {
		if err := copyPath(from, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, at("photos/person_00/broken.png"), "no picture")
	writeFile(t, at("nearest.yaml"), "loss: {name: unified, rpsd: {pool: neighbours, positives_from: centres}}\n")
	writeFile(t, at("study.yaml"), `dataset: faces.ds
base: {teacher: tiny, threads: 1, batch: 6, warmup_epochs: 0, size: {width: 0.125, dim: 16}}
budget: {epochs: 1}
tests: [{name: faces, dataset: faces.ds, pairs: pairs.txt}]
axes: {loss: [cosine, l2], seed: [1]}
`)
	for _, line := range []string{
		"ingest --source folder=photos --out faces.ds --shard-rows 6",
		"ingest --source folder=more --out more.ds --key-prefix more/ --shard-rows 6",
		"precompute-teacher faces.ds --teacher tiny.onnx --flip",
		"precompute-teacher faces.ds --teacher tiny.onnx --name other --preprocess raw --no-self-test",
		"teachers centres faces.ds tiny",
		"teachers neighbours faces.ds tiny --k 4",
		"teachers classifier faces.ds tiny --from weight.npy --identities people.txt",
		"distill faces.ds --teacher tiny --loss cosine --width 0.125 --dim 16 --threads 1 --batch 6 --epochs 2 --warmup 0 --log-every 1 --checkpoint-every 3 --out run",
		"eval --model tiny.onnx --dataset faces.ds --pairs pairs.txt --out report",
	} {
		g.pipe(g.base, line)
	}
	if full {
		g.pipe(g.base, "compare study.yaml --out study")
	}
	g.targets = targets(g, full)
	for _, target := range g.targets {
		g.settle(target)
	}
	return g
}

// pipe runs a line of the program in a folder, which must succeed.
func (g *ground) pipe(dir, line string) outcome {
	g.t.Helper()
	c := exec.Command(program, strings.Fields(line)...)
	c.Dir = dir
	o := finished(g.t, c)
	if o.code != exitDone {
		g.t.Fatalf("pipe %s ended with %d: %s", line, o.code, o.stderr)
	}
	return o
}

// settle gives a target its lanes.
func (g *ground) settle(target *target) {
	for i := range g.lanes {
		dir := filepath.Join(storetest.MemoryDir(g.t), strconv.Itoa(i))
		l := lane{filepath.Join(dir, "world"), filepath.Join(dir, "whole")}
		for _, name := range target.needs {
			if err := copyPath(filepath.Join(g.base, name), filepath.Join(l.world, name)); err != nil {
				g.t.Fatal(err)
			}
		}
		if target.settle != nil {
			target.settle(g.t, l.world)
		}
		if err := copyPath(l.world, l.whole); err != nil {
			g.t.Fatal(err)
		}
		target.lanes = append(target.lanes, l)
	}
}

// fresh makes a lane's world whole again.
func (l lane) fresh(t *testing.T) {
	if err := errors.Join(os.RemoveAll(l.world), copyPath(l.whole, l.world)); err != nil {
		t.Error(err)
	}
}

// copyPath copies a file or a folder.
func copyPath(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.CopyFS(to, os.DirFS(from))
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, data, 0o644))
}

// line is a verb of a command line.
func line(text string, options ...func(*reader)) *reader {
	v := &reader{args: append(strings.Fields(text), "--json")}
	for i, word := range v.args[:len(v.args)-1] {
		if word == "--out" && strings.HasPrefix(v.args[i+1], "out") {
			v.out = v.args[i+1]
		}
	}
	for _, option := range options {
		option(v)
	}
	return v
}

func costly(v *reader)   { v.costly = true }
func checking(v *reader) { v.check = true }
func visual(v *reader)   { v.visual = true }

const trainTiny = "--width 0.125 --dim 16 --threads 1 --batch 6 --warmup 0 --log-every 1 --checkpoint-every 3"

// targets are all that the program keeps, with the verbs that read it.
func targets(g *ground, full bool) []*target {
	all := []*target{{
		name:  "dataset",
		needs: []string{"faces.ds", "more.ds", "photos", "more", "tiny.onnx", "pairs.txt", "weight.npy", "people.txt", "nearest.yaml"},
		roots: []string{"faces.ds"}, spare: "teachers/other",
		verbs: []*reader{
			line("check faces.ds --read-data", checking),
			line("info faces.ds"),
			line("teachers faces.ds"),
			line("teachers compare faces.ds tiny other"),
			line("teachers centres faces.ds tiny"),
			line("teachers neighbours faces.ds tiny --k 4"),
			line("teachers centres faces.ds tiny --rebuild"),
			line("teachers neighbours faces.ds tiny --k 4 --rebuild"),
			line("teachers classifier faces.ds tiny --from weight.npy --identities people.txt"),
			line("teachers drop faces.ds tiny", visual),
			line("merge faces.ds more.ds --out out.ds"),
			line("export faces.ds --to folder --out out"),
			line("export faces.ds --to recordio --out out"),
			line("export faces.ds --to npy --teacher tiny --out out.npy"),
			line("index rebuild faces.ds"),
			line("ingest --source folder=photos --out faces.ds --shard-rows 6"),
			line("ingest --source folder=more --key-prefix more/ --out faces.ds --shard-rows 6"),
			line("report faces.ds --out out.html", visual),
			line("precompute-teacher faces.ds --teacher tiny.onnx --flip", costly),
			line("plan precompute-teacher faces.ds --teacher tiny.onnx --name new --plan out", costly),
			line("embed --model tiny.onnx --dataset faces.ds --out out.npy", costly),
			line("eval --model tiny.onnx --dataset faces.ds --pairs pairs.txt --out out", costly),
			line("distill faces.ds --teacher tiny --loss proxyless --epochs 1 --out out "+trainTiny, costly),
			line("distill faces.ds --teacher tiny --config nearest.yaml --epochs 1 --out out "+trainTiny, costly),
		},
	}, {
		name: "run", needs: []string{"faces.ds", "run", "tiny.onnx", "pairs.txt"}, roots: []string{"run"},
		verbs: []*reader{
			line("check run", checking),
			line("export --checkpoint run --out out.onnx"),
			line("report run --out out.html", visual),
			line("distill faces.ds --teacher tiny --loss cosine --epochs 2 --resume --out run "+trainTiny, costly, func(v *reader) { v.out = "run/student.onnx" }),
			line("embed --model run/student.onnx --dataset faces.ds --out out.npy", costly),
			line("eval --model run/student.onnx --dataset faces.ds --pairs pairs.txt --out out", costly),
			line("precompute-teacher faces.ds --teacher run/student.onnx", costly),
		},
	}, {
		name: "plan", needs: []string{"faces.ds", "tiny.onnx"}, roots: []string{"job"},
		settle: func(t *testing.T, world string) {
			g.pipe(world, "plan precompute-teacher faces.ds --teacher tiny.onnx --name new --flip --plan job")
			g.pipe(world, "precompute-teacher --plan job --worker 0/1")
		},
		verbs: []*reader{
			line("check job --read-data", checking),
			line("merge --plan job"),
			line("precompute-teacher --plan job --worker 0/1", costly),
		},
	}, {
		name: "ingest plan", needs: []string{"photos"}, roots: []string{"job"},
		settle: func(t *testing.T, world string) {
			g.pipe(world, "plan ingest --source folder=photos --out faces.ds --shard-rows 6 --plan job --task-items 6")
			g.pipe(world, "ingest --plan job --worker 0/1")
		},
		verbs: []*reader{
			line("check job --read-data", checking),
			line("merge --plan job"),
			line("ingest --plan job --worker 0/1"),
		},
	}, {
		name: "evaluation", needs: []string{"report"}, roots: []string{"report"},
		verbs: []*reader{line("report report --out out.html", visual)},
	}}
	if !full { // of what takes a second, a little
		for _, target := range all {
			target.verbs = slices.DeleteFunc(target.verbs, func(v *reader) bool { return v.costly && v.args[0] != "eval" })
		}
	}
	if full {
		all = append(all, &target{
			name: "study", needs: []string{"study.yaml", "faces.ds", "pairs.txt", "tiny.onnx", "study"}, roots: []string{"study"},
			verbs: []*reader{
				line("check study", checking),
				line("report study --out out.html", visual),
				line("compare study.yaml --out study", costly),
			},
		})
	}
	return all
}

// usual measures every verb of a target twice on what is whole: how long it takes, what it uses,
// and in what its results agree.
func (target *target) usual(t *testing.T) {
	l := target.lanes[0]
	for _, v := range target.verbs {
		var results [2]leaves
		for i := range results {
			l.fresh(t)
			h := strike(t, l.world, 10*patience, nil, v.args...)
			if h.code != exitDone || h.hung {
				t.Errorf("%s: pipe %s cannot be attacked, undamaged it ends badly: %s", target.name, strings.Join(v.args, " "), h.excerpt())
				break
			}
			v.peak, v.took = max(v.peak, h.peak), max(v.took, h.took)
			results[i] = leavesOf(l.world, v.out, h)
		}
		if v.usual = results[0].common(results[1]); v.visual {
			v.usual = nil
		}
	}
	target.verbs = slices.DeleteFunc(target.verbs, func(v *reader) bool { return v.took == 0 })
}
