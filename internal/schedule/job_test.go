package schedule

import (
	"bytes"
	"flag"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func example() Job {
	return Job{
		Name: "embed", Program: "/opt/pipe/bin/pipe", Plan: "/data/job", Workers: 4, CPUs: 2, MemoryGiB: 8,
		Worker: []string{"precompute-teacher", "--plan", "/data/job", "--worker", "auto"}, Merge: []string{"merge", "--plan", "/data/job"},
	}
}

func kubernetes(j Job) Job {
	j.Image, j.Claim, j.Mount = "registry.example/pipe:1", "faces", "/data"
	return j
}

func TestEmit(t *testing.T) {
	gpu := example()
	gpu.GPUs, gpu.Time, gpu.Workers, gpu.MaxRunning = 1, "04:00:00", 128, 16
	gpu.Sbatch = []string{"--partition=gpu", "--account=faces"}
	odd := kubernetes(example())
	odd.Program, odd.Worker = `/opt/it's "here"/pipe`, []string{"precompute-teacher", "--plan", `/data/a $(JOB) of $$\`, "--worker", "auto"}
	odd.GPUs, odd.MaxRunning = 2, 3
	for name, c := range map[string]struct {
		kind string
		job  Job
	}{"array.sh": {Slurm, example()}, "array_gpu.sh": {Slurm, gpu}, "indexed.yaml": {Kubernetes, kubernetes(example())}, "indexed_odd.yaml": {Kubernetes, odd}} {
		got, err := c.job.Emit(c.kind)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.Join("testdata", name), []byte(got))
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s", path, got)
	}
}

func TestSeconds(t *testing.T) {
	for limit, want := range map[string]int{
		"4": 240, "4:59": 299, "5": 300, "0:05:00": 300, "01:00:00": 3600, "1-0": 86400, "1-2": 93600, "1-2:03": 93780, "1-2:03:04": 93784,
		"99999999999999999999": math.MaxInt,
	} {
		if got := seconds(limit); got != want {
			t.Errorf("%s is %d s, want %d", limit, got, want)
		}
	}
}

func TestValidate(t *testing.T) {
	for say, c := range map[string]struct {
		kind string
		edit func(*Job)
	}{
		"job name":                       {Slurm, func(j *Job) { j.Name = "Big Job" }},
		"0 workers":                      {Slurm, func(j *Job) { j.Workers = 0 }},
		"0 processors":                   {Slurm, func(j *Job) { j.CPUs = 0 }},
		"HH:MM:SS":                       {Slurm, func(j *Job) { j.Time = "four hours" }},
		"at least 5 minutes":             {Slurm, func(j *Job) { j.Time = "4" }},
		"at a time":                      {Slurm, func(j *Job) { j.MaxRunning = -1 }},
		"control":                        {Slurm, func(j *Job) { j.Program = "pipe\nrm -rf /" }},
		"characters":                     {Slurm, func(j *Job) { j.Sbatch = []string{"--qos=a\n#SBATCH --qos=b"} }},
		"no backslash":                   {Slurm, func(j *Job) { j.Plan = `/data/a\job` }},
		"with a dash":                    {Slurm, func(j *Job) { j.Sbatch = []string{"partition=gpu"} }},
		"image":                          {Kubernetes, func(j *Job) {}},
		"absolute":                       {Kubernetes, func(j *Job) { *j = kubernetes(*j); j.Mount = "data" }},
		"is no name":                     {Kubernetes, func(j *Job) { *j = kubernetes(*j); j.Claim = "My Claim" }},
		"are for slurm":                  {Kubernetes, func(j *Job) { *j = kubernetes(*j); j.Time = "1:00:00" }},
		"of sbatch":                      {Kubernetes, func(j *Job) { *j = kubernetes(*j); j.Sbatch = []string{"--qos=a"} }},
		"no UTF-8":                       {Kubernetes, func(j *Job) { *j = kubernetes(*j); j.Merge = []string{"a\xff"} }},
		"/data/job is not below /other":  {Kubernetes, func(j *Job) { *j = kubernetes(*j); j.Mount = "/other" }},
		"/data2/a.ds is not below /data": {Kubernetes, func(j *Job) { *j = kubernetes(*j); j.Paths = []string{"/data/b.ds", "/data2/a.ds"} }},
		"none of [slurm":                 {"cron", func(j *Job) {}},
	} {
		j := example()
		c.edit(&j)
		if _, err := j.Emit(c.kind); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v", say, err)
		}
	}
}

func TestNotes(t *testing.T) {
	j := example()
	for workers, want := range map[int]int{1001: 0, 1002: 1} {
		j.Workers = workers
		if notes := j.Notes(Slurm); len(notes) != want || want > 0 && !strings.Contains(notes[0], "MaxArraySize") {
			t.Errorf("%d workers: %q", workers, notes)
		}
		if notes := j.Notes(Kubernetes); notes != nil {
			t.Errorf("%d workers on Kubernetes: %q", workers, notes)
		}
	}
}

// A shell reads back the words that were quoted for it.
func TestShellWords(t *testing.T) {
	words := []string{"plain", "a b", "it's", `"$HOME"`, "`ls`", `back\slash`, "", "*", "ü;|&"}
	out, err := exec.Command("sh", "-c", "printf '%s\\n' "+ShellWords(words[0], words[1:])).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); strings.Join(got, "\n") != strings.Join(words, "\n") {
		t.Errorf("%q, want %q", got, words)
	}
}

// What is submitted is what a shell understands.
func TestScriptParses(t *testing.T) {
	j := example()
	script, err := j.Emit(Slurm)
	if err != nil {
		t.Fatal(err)
	}
	for _, shell := range []string{"sh", "bash"} {
		c := exec.Command(shell, "-n")
		c.Stdin = strings.NewReader(script)
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", shell, err, out)
		}
	}
}
