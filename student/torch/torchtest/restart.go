package torchtest

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Restart runs the test as a process of its own, with variables ("NAME=VALUE") by which it
// can tell, and returns the lines that it printed with "> " before them.
func Restart(t *testing.T, variables ...string) []string {
	t.Helper()
	return start(t, variables...).wait(t, strings.Join(variables, " "))
}

// restarted is a test that runs once more, as a process of its own.
type restarted struct {
	process *exec.Cmd
	output  strings.Builder
}

// start runs the test's program again, for this test only and with these variables set.
func start(t *testing.T, variables ...string) *restarted {
	t.Helper()
	r := &restarted{process: exec.Command(os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v")}
	r.process.Env = append(os.Environ(), variables...)
	r.process.Stdout, r.process.Stderr = &r.output, &r.output
	if err := r.process.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

// wait returns the lines that it printed with "> " before them. If it fails, so does the
// test, which says who it was.
func (r *restarted) wait(t *testing.T, who string) (lines []string) {
	t.Helper()
	if err := r.process.Wait(); err != nil {
		t.Errorf("%s: %v\n%s", who, err, r.output.String())
	}
	scan := bufio.NewScanner(strings.NewReader(r.output.String()))
	scan.Buffer(nil, 64<<20)
	for scan.Scan() {
		if line, ok := strings.CutPrefix(scan.Text(), "> "); ok {
			lines = append(lines, line)
		}
	}
	return lines
}
