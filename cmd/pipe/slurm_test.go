package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// slurm is a cluster of one node with two processors, on loopback.
type slurm struct {
	t   *testing.T
	dir string
	env []string
}

// startSlurm starts Debian's munged, slurmctld and slurmd for the length of the test. It
// wants root, as slurmd does.
func startSlurm(t *testing.T) *slurm {
	t.Helper()
	// Not below the test's own folder: munged minds who may write above its socket.
	dir, err := os.MkdirTemp("/run", "pipe-slurm-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &slurm{t: t, dir: dir, env: append(os.Environ(), "SLURM_CONF="+filepath.Join(dir, "slurm.conf"))}
	for _, sub := range []string{"state", "spool"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(dir, "munge.key"), strings.Repeat("pipe", 256))
	if err := os.Chmod(filepath.Join(dir, "munge.key"), 0o400); err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ = strings.Cut(host, ".")
	writeFile(t, filepath.Join(dir, "slurm.conf"), fmt.Sprintf(`ClusterName=pipe
SlurmctldHost=%[1]s(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=%[2]s/munge.socket
CredType=cred/munge
StateSaveLocation=%[2]s/state
SlurmdSpoolDir=%[2]s/spool
SlurmctldPidFile=%[2]s/slurmctld.pid
SlurmdPidFile=%[2]s/slurmd.pid
SlurmctldLogFile=%[2]s/slurmctld.log
SlurmdLogFile=%[2]s/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
JobRequeue=1
ReturnToService=2
KillWait=5
NodeName=%[1]s NodeAddr=127.0.0.1 CPUs=2 RealMemory=4096 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
`, host, dir))
	s.daemon("munged", "--foreground", "--force", "--key-file="+filepath.Join(dir, "munge.key"), "--socket="+filepath.Join(dir, "munge.socket"),
		"--pid-file="+filepath.Join(dir, "munged.pid"), "--log-file="+filepath.Join(dir, "munged.log"), "--seed-file="+filepath.Join(dir, "munged.seed"))
	s.await("munge's socket", func() bool { _, err := os.Stat(filepath.Join(dir, "munge.socket")); return err == nil })
	s.daemon("slurmctld", "-D", "-c")
	s.daemon("slurmd", "-D")
	s.await("the node", func() bool { return strings.Contains(s.try("sinfo", "-h", "-o", "%T"), "idle") })
	return s
}

// daemon runs a program until the test ends.
func (s *slurm) daemon(name string, args ...string) {
	s.t.Helper()
	c := exec.Command(name, args...)
	c.Env = s.env
	log, err := os.Create(filepath.Join(s.dir, name+".out"))
	if err != nil {
		s.t.Fatal(err)
	}
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		log.Close()
		if s.t.Failed() {
			for _, path := range []string{log.Name(), filepath.Join(s.dir, name+".log")} {
				if text, err := os.ReadFile(path); err == nil {
					s.t.Logf("%s:\n%s", path, text)
				}
			}
		}
	})
}

// try runs one of Slurm's commands and returns what it says.
func (s *slurm) try(name string, args ...string) string {
	c := exec.Command(name, args...)
	c.Env = s.env
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s: %v: %s", name, err, out)
	}
	return string(out)
}

func (s *slurm) await(what string, done func() bool) {
	s.t.Helper()
	for begun := time.Now(); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Since(begun) > 5*time.Minute {
			s.t.Fatalf("waited five minutes for %s; queue:\n%s", what, s.try("squeue", "-l"))
		}
	}
}

// The emitted script on a real Slurm: four array tasks, of which one is queued again while
// it runs, the worker of another is killed, and a third is told that its time is nearly over;
// and the merge that depends on them.
// `make test-slurm` brings the packages.
func TestSlurm(t *testing.T) {
	if os.Getenv("PIPE_TEST_SLURM") == "" {
		t.Skip("PIPE_TEST_SLURM is not set")
	}
	s := startSlurm(t)
	j := planFaces(t, 40, 40, repositoryTeacher(t))
	submit := filepath.Join(t.TempDir(), "submit.sh")
	writeFile(t, submit, j.make(t, exitDone, "--emit", "slurm", "--workers", "4", "--cpus", "1", "--memory", "1", "--batch", "1", "--threads", "1",
		"--max-running", "2", "--sbatch", `--comment="for the test"`, "--job-name", "faces").stdout)
	said := s.try("sh", submit)
	ids := regexp.MustCompile(`workers: job (\d+); merge: job (\d+)`).FindStringSubmatch(said)
	if ids == nil {
		t.Fatalf("submitted: %s", said)
	}
	array, merge := ids[1], ids[2]

	state := func(job string) string {
		return strings.TrimSpace(s.try("squeue", "-h", "-a", "-t", "all", "-o", "%T", "-j", job))
	}
	running := func(task string) func() bool {
		return func() bool { return state(array+"_"+task) == "RUNNING" && s.worker(j.plan, array, task) != "" }
	}
	s.await("task 0 to run", running("0"))
	if said := s.try("scontrol", "requeue", array+"_0"); said != "" {
		t.Fatalf("requeue: %s", said)
	}
	s.await("task 1 to run", running("1"))
	if said := s.try("kill", "-9", s.worker(j.plan, array, "1")); said != "" {
		t.Fatalf("kill: %s", said)
	}
	// The log is where it was to be, and tells that the worker listens to signals by now.
	s.await("task 2 to begin", func() bool {
		log, err := os.ReadFile(filepath.Join(j.plan, "faces-"+array+"_2.log"))
		return err == nil && strings.Contains(string(log), "worker 2/4:")
	})
	if said := s.try("scancel", "--batch", "--signal=USR1", array+"_2"); said != "" {
		t.Fatalf("signal: %s", said)
	}
	// A worker that was killed has failed, and the merge must not run then: it is the
	// user who queues it again.
	s.await("task 1 to fail", func() bool { return state(array+"_1") == "FAILED" })
	s.await("the merge to be dropped", func() bool { return state(merge) == "CANCELLED" })
	s.await("the others to end", func() bool {
		return state(array+"_0") == "COMPLETED" && state(array+"_2") == "COMPLETED" && state(array+"_3") == "COMPLETED"
	})
	for task, restarts := range map[string]int{"0": 1, "2": 1, "3": 0} {
		if said := s.try("scontrol", "show", "job", array+"_"+task); !strings.Contains(said, fmt.Sprintf("Restarts=%d ", restarts)) || !strings.Contains(said, "for the test") {
			t.Errorf("task %s, queued again %d times: %s", task, restarts, said)
		}
	}
	if o := pipe(t, "merge", "--plan", j.plan); o.code != exitFailed || !strings.Contains(o.stderr, "its worker is not done") {
		t.Errorf("a merge that comes too early: %+v", o)
	}
	said = s.try("sh", submit) // again: what is done is skipped
	if ids = regexp.MustCompile(`merge: job (\d+)`).FindStringSubmatch(said); ids == nil {
		t.Fatalf("submitted again: %s", said)
	}
	s.await("the merge", func() bool { return state(ids[1]) == "COMPLETED" })
	j.merged(t)
}

// A study on Slurm: two workers at a time, one of which is killed while it trains and goes on when
// the job is submitted again; the table is that of one process.
func TestSlurmCompare(t *testing.T) {
	if os.Getenv("PIPE_TEST_SLURM") == "" {
		t.Skip("PIPE_TEST_SLURM is not set")
	}
	s, study := startSlurm(t), newStudy(t)
	expect(t, exitDone, study.args()...)
	alone := study.table(t)
	study.out = filepath.Join(t.TempDir(), "study")
	plan, submit := filepath.Join(t.TempDir(), "job"), filepath.Join(t.TempDir(), "submit.sh")
	writeFile(t, submit, expect(t, exitDone, "plan", "compare", study.file, "--out", study.out, "--plan", plan, "--emit", "slurm", "--workers", "4",
		"--max-running", "2", "--cpus", "1", "--memory", "1", "--threads", "1", "--job-name", "study").stdout)
	jobs := func() (array, merge string) {
		t.Helper()
		said := s.try("sh", submit)
		ids := regexp.MustCompile(`workers: job (\d+); merge: job (\d+)`).FindStringSubmatch(said)
		if ids == nil {
			t.Fatalf("submitted: %s", said)
		}
		return ids[1], ids[2]
	}
	state := func(job string) string {
		return strings.TrimSpace(s.try("squeue", "-h", "-a", "-t", "all", "-o", "%T", "-j", job))
	}
	array, _ := jobs()
	s.await("a row to be trained", func() bool {
		found, _ := filepath.Glob(filepath.Join(study.out, "rows", "l2-seed1-*", "checkpoints", "*"))
		return len(found) > 0
	})
	if said := s.try("kill", "-9", s.worker(plan, array, "1")); said != "" {
		t.Fatalf("kill: %s", said)
	}
	s.await("the killed task to fail", func() bool { return state(array+"_1") == "FAILED" })
	s.await("the others to end", func() bool {
		return state(array+"_0") == "COMPLETED" && state(array+"_2") == "COMPLETED" && state(array+"_3") == "COMPLETED"
	})
	_, merge := jobs()
	s.await("the merge", func() bool { return state(merge) == "COMPLETED" })
	if table := study.table(t); !reflect.DeepEqual(table, alone) {
		t.Errorf("on Slurm the table is %v\nand without %v", table, alone)
	}
}

// worker is the process of a task's pipe, found by its environment; "" if there is none.
func (s *slurm) worker(plan, array, task string) string {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range processes {
		// A process may end while it is looked at.
		env, _ := os.ReadFile(filepath.Join(p, "environ"))
		args, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		if strings.Contains(string(env), "SLURM_ARRAY_JOB_ID="+array+"\x00") && strings.Contains(string(env), "SLURM_ARRAY_TASK_ID="+task+"\x00") &&
			strings.HasPrefix(string(args), program+"\x00") && strings.Contains(string(args), plan) {
			return filepath.Base(p)
		}
	}
	return ""
}
