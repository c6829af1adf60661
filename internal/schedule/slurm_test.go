package schedule

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// executable writes a script.
func executable(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// submission is what sbatch was given, once for the workers and once for the merge.
type submission struct {
	args   []string
	script string // its path
}

// submit runs the emitted script with a stand-in for sbatch.
func submit(t *testing.T, j Job) (workers, merge submission) {
	t.Helper()
	text, err := j.Emit(Slurm)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	executable(t, filepath.Join(dir, "sbatch"), `#!/bin/sh
cd "$SUBMITTED"
n=$(ls | wc -l)
printf '%s\n' "$@" > args$n
cat > script$n
echo "4$n"
`)
	submitted := t.TempDir()
	c := exec.Command("sh")
	c.Stdin = strings.NewReader(text)
	c.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "SUBMITTED="+submitted)
	said, err := c.CombinedOutput()
	if err != nil || string(said) != "workers: job 40; merge: job 42\n" {
		t.Fatalf("%v: %s", err, said)
	}
	get := func(n string) submission {
		return submission{lines(t, filepath.Join(submitted, "args"+n)), filepath.Join(submitted, "script"+n)}
	}
	return get("0"), get("2")
}

// Whatever folders are called, the program runs with the arguments that it was to have, and
// the logs are in the plan's folder.
func TestSlurmQuotes(t *testing.T) {
	for _, odd := range []string{"plain", "a b", "it's", `"q"`, "$HOME $(ls)", "`ls`", "#no", "50%a %x", "ü;|&*"} {
		dir := filepath.Join(t.TempDir(), odd)
		said := filepath.Join(t.TempDir(), "said")
		j := example()
		j.Program, j.Plan = filepath.Join(dir, `back\slash pipe`), filepath.Join(dir, "job")
		j.Worker = []string{"precompute-teacher", "--plan", j.Plan, "--onnxruntime", `/it's a "\$HOME".so`}
		j.Merge = []string{"merge", "--plan", j.Plan}
		executable(t, j.Program, "#!/bin/sh\nprintf '%s\\n' \"$GOMAXPROCS\" \"$@\" > \"$SAID\"\n")
		workers, merge := submit(t, j)
		for _, c := range []struct {
			submission
			words []string
			log   string
		}{{workers, j.Worker, "%x-%A_%a.log"}, {merge, j.Merge, "%x-%j.log"}} {
			if log := "--output=" + strings.ReplaceAll(j.Plan, "%", "%%") + "/" + c.log; !slices.Contains(c.args, log) {
				t.Errorf("%s: sbatch has %q, want %s", odd, c.args, log)
			}
			run := exec.Command("bash", c.script)
			run.Env = append(os.Environ(), "SAID="+said, "SLURM_CPUS_PER_TASK=2")
			if out, err := run.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", odd, err, out)
			}
			if got, want := lines(t, said), append([]string{"2"}, c.words...); !slices.Equal(got, want) {
				t.Errorf("%s: the program has %q, want %q", odd, got, want)
			}
		}
	}
}

// Slurm's signals reach the worker, and its own status is the task's, however fast it is.
func TestSlurmSignals(t *testing.T) {
	for name, c := range map[string]struct {
		worker   string // a script for sh
		signal   string
		restarts int // before this run
		status   int
		requeued bool
	}{
		"done":                         {"exit 0", "", 0, 0, false},
		"failed":                       {"exit 1", "", 0, 1, false},
		"killed":                       {"kill -9 $$", "", 0, 137, false},
		"out of time":                  {"trap 'exit 75' USR1; " + untilSignal, "USR1", 0, 75, true},
		"out of time, and stops later": {"trap 'sleep 1; exit 75' USR1; " + untilSignal, "USR1", 0, 75, true},
		"out of time, but done":        {"trap 'exit 0' USR1; " + untilSignal, "USR1", 0, 0, false},
		"ended":                        {"trap 'exit 75' TERM; " + untilSignal, "TERM", 0, 75, false},
		"crashed":                      {"ulimit -c 0; kill -ABRT $$", "", 0, 134, true},
		"crashed in a library":         {"ulimit -c 0; kill -SEGV $$", "", 0, 139, true},
		"crashed after two others":     {"exit 134", "", 2, 134, false},
		"out of time, and crashed":     {"trap 'exit 134' USR1; " + untilSignal, "USR1", 7, 134, false},
		"out of time, and failed":      {"trap 'exit 1' USR1; " + untilSignal, "USR1", 0, 1, false},
		"used in a wrong way":          {"exit 2", "", 0, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j := example()
			j.Program, j.Plan = filepath.Join(dir, "pipe"), dir
			executable(t, j.Program, "#!/bin/sh\n"+c.worker+"\n")
			executable(t, filepath.Join(dir, "scontrol"), "#!/bin/sh\necho \"$@\" >> "+filepath.Join(dir, "requeued")+"\n")
			// A shell that is slow after it has passed a signal on: the worker is gone before
			// the shell looks again.
			slow := filepath.Join(dir, "slow")
			executable(t, slow, "kill() { builtin kill \"$@\"; local status=$?; sleep 0.3; return $status; }\n")
			workers, _ := submit(t, j)
			run := exec.Command("bash", workers.script)
			run.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "BASH_ENV="+slow, "READY="+filepath.Join(dir, "ready"),
				"SLURM_CPUS_PER_TASK=2", "SLURM_ARRAY_JOB_ID=7", "SLURM_ARRAY_TASK_ID=3")
			if c.restarts > 0 { // Slurm says nothing in a first run
				run.Env = append(run.Env, fmt.Sprint("SLURM_RESTART_COUNT=", c.restarts))
			}
			if err := run.Start(); err != nil {
				t.Fatal(err)
			}
			if c.signal != "" {
				await(t, filepath.Join(dir, "ready"))
				if out, err := exec.Command("kill", "-"+c.signal, strconv.Itoa(run.Process.Pid)).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			_ = run.Wait() // the state tells
			if got := run.ProcessState.ExitCode(); got != c.status {
				t.Errorf("the task ended with %d, want %d", got, c.status)
			}
			_, err := os.Stat(filepath.Join(dir, "requeued"))
			if (err == nil) != c.requeued {
				t.Errorf("queued again: %v", err == nil)
			} else if c.requeued && !slices.Equal(lines(t, filepath.Join(dir, "requeued")), []string{"requeue 7_3"}) {
				t.Errorf("queued again: %q", lines(t, filepath.Join(dir, "requeued")))
			}
		})
	}
}

// untilSignal says that the worker is ready, and waits.
const untilSignal = `: > "$READY"; while :; do sleep 0.05; done`

// await waits for a file.
func await(t *testing.T, path string) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Since(begun) > time.Minute {
			t.Fatalf("waited a minute for %s", path)
		}
	}
}
