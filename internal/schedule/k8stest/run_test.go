package k8stest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
)

// root is the source tree, where the program finds ONNX Runtime.
const root = "../../.."

// built is the program, of this source tree.
func built(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "pipe")
	if out, err := inRoot("go", "build", "-o", program, "./cmd/pipe").CombinedOutput(); err != nil {
		t.Fatalf("build pipe: %v\n%s", err, out)
	}
	return program
}

func inRoot(name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Dir = root
	return c
}

// must runs a command and returns what it prints.
func must(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	out, err := c.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%q: %v\n%s", c.Args, err, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// digest is that of the embeddings that a command reports.
func digest(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	var summary struct{ Digest string }
	if err := json.Unmarshal([]byte(must(t, c)), &summary); err != nil || summary.Digest == "" {
		t.Fatalf("%q: no digest: %v", c.Args, err)
	}
	return summary.Digest
}

// container is the command of a job's pod in the environment that the pod has, and no other;
// an index of -1 is none.
func container(t *testing.T, job batchv1.Job, index int) *exec.Cmd {
	t.Helper()
	c := job.Spec.Template.Spec.Containers[0]
	env := map[string]string{}
	for _, e := range c.Env {
		if e.ValueFrom != nil {
			t.Fatalf("%s comes from elsewhere", e.Name)
		}
		env[e.Name] = expanded(e.Value, env)
	}
	if index >= 0 {
		env["JOB_COMPLETION_INDEX"] = fmt.Sprint(index)
	}
	var words []string
	for _, word := range append(append([]string{}, c.Command...), c.Args...) {
		words = append(words, expanded(word, env))
	}
	run := inRoot(words[0], words[1:]...)
	run.Env = []string{} // not this process's
	for name, value := range env {
		run.Env = append(run.Env, name+"="+value)
	}
	return run
}

// expanded is a word of a container's command, or a value of its environment, as Kubernetes
// passes it on: $(NAME) is replaced where it is known, $$ is a dollar.
func expanded(word string, env map[string]string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(word, "$")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		word = after
		name, rest, closed := strings.Cut(after, ")")
		switch {
		case strings.HasPrefix(after, "$"):
			out.WriteString("$")
			word = after[1:]
		case strings.HasPrefix(after, "(") && closed:
			value, known := env[name[1:]]
			if !known {
				value = "$" + name + ")"
			}
			out.WriteString(value)
			word = rest
		default:
			out.WriteString("$")
		}
	}
}

func TestExpanded(t *testing.T) {
	for word, want := range map[string]string{
		"plain": "plain", "$(A)$(B)": "1$(B)", "$$(A)": "$(A)", "$$$(A)$": "$1$", "$A $(": "$A $(", "a$$$$b": "a$$b",
	} {
		if got := expanded(word, map[string]string{"A": "1"}); got != want {
			t.Errorf("%q is %q, want %q", word, got, want)
		}
	}
}

// What `pipe plan --emit k8s` prints, run as a cluster would, is what one process makes,
// whatever folders are called.
func TestEmittedJobs(t *testing.T) {
	program := built(t)
	pipe := func(args ...string) *exec.Cmd { return inRoot(program, args...) }
	for name, folder := range map[string]string{"plain": "claim", "odd": `the "claim" of $$ $(PIPE_WORKERS) it's a\b`} {
		t.Run(name, func(t *testing.T) {
			mount := filepath.Join(t.TempDir(), folder)
			faces, model := filepath.Join(mount, "faces"), filepath.Join(mount, "teacher.onnx")
			must(t, inRoot("go", "run", "./testdata/faces", "-out", faces, "-identities", "6", "-per-identity", "4"))
			weights, err := os.ReadFile(filepath.Join(root, "testdata", "teacher.onnx"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(model, weights, 0o644); err != nil {
				t.Fatal(err)
			}
			dataset, alone := filepath.Join(mount, "faces.ds"), filepath.Join(mount, "alone.ds")
			for _, out := range []string{dataset, alone} {
				must(t, pipe("ingest", "--source", "folder="+filepath.Join(faces, "images"), "--landmarks", filepath.Join(faces, "landmarks.txt"),
					"--out", out, "--shard-rows", "4"))
			}
			want := digest(t, pipe("precompute-teacher", alone, "--teacher", model, "--flip", "--json"))

			text := must(t, pipe("plan", "precompute-teacher", dataset, "--teacher", model, "--flip", "--plan", filepath.Join(mount, "job"),
				"--batch", "2", "--threads", "1", "--emit", "k8s", "--workers", "4", "--max-running", "2", "--program", program,
				"--image", "registry.example/pipe:1", "--claim", "faces", "--mount", mount))
			j := check(t, []byte(text))
			if n := *j.workers.Spec.Completions; n != 4 || *j.workers.Spec.Parallelism != 2 {
				t.Fatalf("%d workers, %d at a time", n, *j.workers.Spec.Parallelism)
			}
			for index := range 4 {
				if out, err := container(t, j.merge, -1).CombinedOutput(); err == nil {
					t.Errorf("a merge before worker %d: %s", index, out)
				}
				must(t, container(t, j.workers, index))
			}
			merge := container(t, j.merge, -1)
			merge.Args = append(merge.Args, "--json")
			if got := digest(t, merge); got != want {
				t.Errorf("the merge gave %s, one process %s", got, want)
			}
		})
	}
}
