package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"facepipe/internal/durable"
)

// TestSoak does all that is done to a dataset in a loop for PIPE_SOAK_SECONDS (make soak): under
// kills and stops at random moments, beside a disk that others keep busy, and now and then on one
// that is full. Each round must come to the very bytes of a round that nobody disturbed, and leave
// nothing else. Beside the loop one training and one page that is served live from the beginning
// to the end. Nobody's memory or number of open files may grow.
func TestSoak(t *testing.T) {
	seconds, err := strconv.Atoi(os.Getenv("PIPE_SOAK_SECONDS"))
	if err != nil {
		t.Skip("PIPE_SOAK_SECONDS says for how long: make soak")
	}
	s := newSoak(t, time.Duration(seconds)*time.Second)
	s.live()
	for s.rounds == 0 || time.Now().Before(s.until) {
		s.round(rand.New(rand.NewPCG(s.seed, uint64(s.rounds))))
		if t.Failed() {
			break
		}
	}
	s.report()
}

// soak is what happened so far.
type soak struct {
	t       *testing.T
	seed    uint64
	began   time.Time
	until   time.Time
	dir     string // of everything
	tmp     string // of the program's temporary files
	usual   map[string]time.Duration
	control string // what an undisturbed round leaves

	mu     sync.Mutex
	uses   map[string][]use // by verb, in their order
	kills  int
	stops  int
	pauses int

	rounds, slow, full int
	noFull             string // why there was no full disk
	leftovers          int    // in the folder of temporary files
}

// use is what a run took.
type use struct {
	peak  int64 // resident bytes
	files int   // open at once
}

func newSoak(t *testing.T, lasts time.Duration) *soak {
	s := &soak{t: t, seed: rand.Uint64(), began: time.Now(), until: time.Now().Add(lasts), dir: t.TempDir(),
		usual: map[string]time.Duration{}, uses: map[string][]use{}}
	t.Logf("seed %d", s.seed)
	s.tmp = filepath.Join(s.dir, "tmp")
	for name, from := range map[string]string{"first": alignedFaces(t, 5, 5), "second": alignedFaces(t, 6, 6), "tiny.onnx": tinyTeacher(t), "pairs.txt": pairsFile(t, 5, 5)} {
		if err := copyPath(from, filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.control = filepath.Join(s.dir, "control")
	if err := errors.Join(os.Mkdir(s.tmp, 0o755), os.Mkdir(s.control, 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", s.tmp)
	for _, line := range soakLines(s.dir, s.control) {
		begun := time.Now()
		s.run(line)
		s.usual[verbOf(line)] = time.Since(begun)
	}
	return s
}

// soakLines are the lines of a round in a folder.
func soakLines(dir, round string) (lines [][]string) {
	replaced := strings.NewReplacer("DIR", dir, "ROUND", round)
	for _, line := range []string{
		"ingest --source folder=DIR/first --out ROUND/faces.ds --shard-rows 4",
		"ingest --source folder=DIR/second --key-prefix more/ --out ROUND/faces.ds --shard-rows 4",
		"precompute-teacher ROUND/faces.ds --teacher DIR/tiny.onnx --flip",
		"teachers centres ROUND/faces.ds tiny",
		"teachers neighbours ROUND/faces.ds tiny --k 4",
		"distill ROUND/faces.ds --teacher tiny --loss unified --epochs 2 --resume --out ROUND/run " + trainTiny,
		"ingest --source folder=DIR/second --out ROUND/other.ds --shard-rows 5",
		"merge ROUND/faces.ds ROUND/other.ds --out ROUND/merged.ds --shard-rows 6 --max-reject-rate 1",
		"export ROUND/faces.ds --to folder --out ROUND/crops",
		"eval --model ROUND/run/student.onnx --dataset ROUND/faces.ds --pairs DIR/pairs.txt --out ROUND/report",
		"check ROUND/faces.ds --read-data",
		"check ROUND/merged.ds --read-data",
		"report ROUND/report ROUND/run ROUND/faces.ds --out ROUND/page.html",
	} {
		lines = append(lines, strings.Fields(replaced.Replace(line)))
	}
	return lines
}

func verbOf(line []string) string {
	if line[0] == "teachers" {
		return strings.Join(line[:2], " ")
	}
	return line[0]
}

// run runs a line to its end, which must be a good one, and notes what it took.
func (s *soak) run(line []string) {
	c, stderr := s.start(line)
	s.wait(c, verbOf(line))
	if code := c.ProcessState.ExitCode(); code != exitDone {
		s.t.Errorf("pipe %s: %v\n%s", strings.Join(line, " "), c.ProcessState, stderr)
	}
}

func (s *soak) start(line []string) (*exec.Cmd, *bytes.Buffer) {
	c, stderr := exec.Command(program, append(line, "--quiet")...), new(bytes.Buffer)
	c.Stderr = stderr
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	return c, stderr
}

// wait waits for a run and notes what it took.
func (s *soak) wait(c *exec.Cmd, verb string) {
	stop := follow(c.Process.Pid)
	_ = c.Wait() // the state tells
	if took := stop(); c.ProcessState.Success() && took.peak > 0 {
		s.mu.Lock()
		s.uses[verb] = append(s.uses[verb], took)
		s.mu.Unlock()
	}
}

// follow looks again and again at what a process holds, and gives the most of it when it is told
// that the process has ended. (What wait4 says of memory begins with that of the parent.)
func follow(pid int) (stop func() use) {
	ended, most := make(chan struct{}), make(chan use)
	go func() {
		var u use
		for {
			u.peak, u.files = max(u.peak, statusBytes(pid, "VmHWM")), max(u.files, openFiles(pid))
			select {
			case <-ended:
				most <- u
				return
			case <-time.After(4 * time.Millisecond):
			}
		}
	}()
	return func() use { close(ended); return <-most }
}

// openFiles are those of a process; 0 when it has ended.
func openFiles(pid int) int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0
	}
	return len(entries)
}

// disturbed runs a line, kills or stops it up to three times, and runs it to its end.
func (s *soak) disturbed(rng *rand.Rand, line []string) {
	verb := verbOf(line)
	for range rng.IntN(4) {
		c, stderr := s.start(line)
		time.Sleep(time.Duration(rng.Int64N(int64(s.usual[verb]) + 1)))
		switch rng.IntN(4) {
		case 0:
			s.stops++
			_ = c.Process.Signal(syscall.SIGTERM) // it may have ended
		case 1:
			s.pauses++
			_ = c.Process.Signal(syscall.SIGSTOP)
			time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
			_ = c.Process.Signal(syscall.SIGCONT)
		default:
			s.kills++
			_ = c.Process.Kill()
		}
		s.wait(c, verb)
		killed := !c.ProcessState.Exited()
		if code := c.ProcessState.ExitCode(); !killed && code != exitDone && code != exitStopped {
			s.t.Errorf("disturbed, pipe %s: %v\n%s", strings.Join(line, " "), c.ProcessState, stderr)
		}
		if verb == "export" && c.ProcessState.Success() { // its name is taken now
			return
		}
	}
	s.run(line)
}

// round is all that is done to a dataset, once.
func (s *soak) round(rng *rand.Rand) {
	folder := filepath.Join(s.dir, "round")
	if err := errors.Join(os.RemoveAll(folder), os.Mkdir(folder, 0o755)); err != nil {
		s.t.Fatal(err)
	}
	quiet := func() {}
	if s.rounds%2 == 1 {
		s.slow++
		quiet = s.busyDisk()
	}
	for _, line := range soakLines(s.dir, folder) {
		s.disturbed(rng, line)
	}
	quiet()
	for _, name := range []string{"faces.ds", "merged.ds", "other.ds", "crops"} {
		sameFiles(s.t, filepath.Join(s.control, name), filepath.Join(folder, name))
	}
	s.sameRun(folder)
	for _, of := range []string{"", "report"} { // folders of a user's, which no verb cleans up
		if left, err := filepath.Glob(filepath.Join(folder, of, durable.TempPrefix+"*")); err != nil || len(left) > 0 {
			s.t.Errorf("%v are left over after kills, %v", left, err)
		}
	}
	if s.rounds%3 == 0 {
		s.fullDisk()
	}
	entries, err := os.ReadDir(s.tmp)
	if err != nil {
		s.t.Error(err)
	}
	s.leftovers = max(s.leftovers, len(entries))
	s.rounds++
}

// sameRun compares the student and what lies beside it.
func (s *soak) sameRun(folder string) {
	want, got := contents(s.t, filepath.Join(s.control, "run")), contents(s.t, filepath.Join(folder, "run"))
	if !bytes.Equal(want["student.onnx"], got["student.onnx"]) {
		s.t.Error("the student differs after kills")
	}
	for name := range got {
		// Event files have times in their names.
		if _, there := want[name]; !there && !strings.HasPrefix(name, "tensorboard/") {
			s.t.Errorf("run/%s is left over after kills", name)
		}
	}
}

// busyDisk writes to the same disk, and waits for it, until the function that it returns is called.
// It stands for a slow disk: to throttle one takes a kernel that lets this process do so.
func (s *soak) busyDisk() (quiet func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		block := make([]byte, 8<<20)
		for ctx.Err() == nil {
			path := filepath.Join(s.dir, "ballast")
			f, err := os.Create(path)
			if err == nil {
				_, err = f.Write(block)
				err = errors.Join(err, f.Sync(), f.Close(), os.Remove(path))
			}
			if err != nil {
				s.t.Error(err)
				return
			}
		}
	})
	return func() { cancel(); group.Wait() }
}

// fullDisk ingests onto a file system without room, which must be said; with room the same lines
// come to what they always do.
func (s *soak) fullDisk() {
	disk := filepath.Join(s.dir, "disk")
	if err := os.MkdirAll(disk, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := unix.Mount("none", disk, "tmpfs", 0, "size=600k"); err != nil {
		s.noFull = fmt.Sprintf("no full disk: a tmpfs cannot be mounted here (%v)", err)
		return
	}
	defer func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			s.t.Error(err)
		}
	}()
	s.full++
	lines := soakLines(s.dir, disk)[:3]
	for _, room := range []string{"size=600k", "size=1200k", "size=64m"} {
		if err := unix.Mount("none", disk, "tmpfs", unix.MS_REMOUNT, room); err != nil {
			s.t.Error(err)
			return
		}
		if room == "size=64m" {
			break
		}
		o := pipe(s.t, lines[0]...)
		if o.code == exitDone {
			o = pipe(s.t, lines[1]...)
		}
		// Where the crops have room and the index has none, it is done, and says so.
		if o.code != exitFailed && (o.code != exitDone || room == "size=600k") || !strings.Contains(o.stderr, "no space left") {
			s.t.Errorf("on a full disk: status %d, %s", o.code, o.stderr)
		}
	}
	for _, line := range lines {
		s.run(line)
	}
	data := filepath.Join(disk, "faces.ds")
	want, got := contents(s.t, filepath.Join(s.control, "faces.ds")), contents(s.t, data)
	for name, text := range got { // the control has derived files as well
		if !bytes.Equal(want[name], text) {
			s.t.Errorf("%s differs after the disk was full", name)
		}
	}
	expect(s.t, exitDone, "check", data, "--read-data")
}

// live starts what lives as long as the soak: a training, and the page of it.
func (s *soak) live() {
	run := filepath.Join(s.dir, "live")
	train := "distill " + filepath.Join(s.control, "faces.ds") + " --teacher tiny --loss cosine --epochs 1000000 --out " + run + " " + trainTiny +
		" --workers 1"
	lives := func(name string, line []string) *exec.Cmd {
		c, stderr := s.start(line)
		ctx, cancel := context.WithCancel(context.Background())
		watched := make(chan struct{})
		go func() { defer close(watched); s.watch(ctx, name, c.Process.Pid) }()
		s.t.Cleanup(func() {
			cancel()
			<-watched
			_ = c.Process.Signal(syscall.SIGTERM) // it may have ended; the state tells
			_ = c.Wait()
			if code := c.ProcessState.ExitCode(); code != exitStopped && code != exitDone {
				s.t.Errorf("%s: %v\n%s", name, c.ProcessState, stderr)
			}
		})
		return c
	}
	lives("a training that goes on", strings.Fields(train))
	for range 600 { // until there is something to show
		if _, err := os.Stat(filepath.Join(run, "metrics.jsonl")); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.serve(run, lives)
}

// serve shows the training's page and asks for it again and again.
func (s *soak) serve(run string, lives func(string, []string) *exec.Cmd) {
	c := lives("its page, served", []string{"report", "--serve", run})
	go func() {
		for time.Now().Before(s.until) {
			if port := listeningPort(c.Process.Pid); port > 0 {
				if r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port)); err == nil {
					_, _ = io.Copy(io.Discard, r.Body) // the watch tells
					_ = r.Body.Close()
				}
			}
			time.Sleep(300 * time.Millisecond)
		}
	}()
}

// listeningPort is a port of this machine that a process listens on, 0 if there is none yet.
func listeningPort(pid int) int {
	sockets := map[string]bool{}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(dir) // none once it has ended
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			if m := regexp.MustCompile(`^socket:\[(\d+)\]$`).FindStringSubmatch(to); m != nil {
				sockets[m[1]] = true
			}
		}
	}
	for _, table := range []string{"tcp", "tcp6"} {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && sockets[f[9]] {
				port, _ := strconv.ParseInt(f[1][strings.LastIndex(f[1], ":")+1:], 16, 32)
				return int(port)
			}
		}
	}
	return 0
}

// watch notes what a process holds, ten times in a minute or more often.
func (s *soak) watch(ctx context.Context, name string, pid int) {
	pause := min(6*time.Second, s.until.Sub(s.began)/40)
	select { // what it takes in the beginning is no growth
	case <-ctx.Done():
		return
	case <-time.After(min(30*time.Second, 5*pause)):
	}
	for {
		if resident := statusBytes(pid, "VmRSS"); resident > 0 {
			s.mu.Lock()
			s.uses[name] = append(s.uses[name], use{resident, openFiles(pid)})
			s.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// statusBytes is a line of /proc/PID/status that counts kilobytes; 0 when the process has ended.
func statusBytes(pid int, key string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "\n"+key+":")
	kilobytes, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64) // else 0
	return kilobytes << 10
}

// growthAllowed is by what the later half of the runs may take more than the earlier one.
const growthAllowed = 24 << 20

// report compares the earlier half of the runs with the later one, and writes the table.
func (s *soak) report() {
	var b strings.Builder
	fmt.Fprintf(&b, "%.0f minutes, %d rounds, %d kills, %d stops, %d pauses; %d rounds beside a writer that keeps the disk busy; %d times a full disk; %d files left among the temporary ones.\n",
		time.Since(s.began).Minutes(), s.rounds, s.kills, s.stops, s.pauses, s.slow, s.full, s.leftovers)
	b.WriteString("\n| | runs or samples | memory, earlier half | later half | open files, earlier half | later half |\n|---|--:|--:|--:|--:|--:|\n")
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.uses)) {
		uses := s.uses[name]
		first, second := middle(uses[:(len(uses)+1)/2]), middle(uses[len(uses)/2:])
		fmt.Fprintf(&b, "| %s | %d | %d MiB | %d MiB | %d | %d |\n", name, len(uses), first.peak>>20, second.peak>>20, first.files, second.files)
		if len(uses) < 6 {
			continue
		}
		if second.peak > first.peak+max(growthAllowed, first.peak/5) || second.files > first.files+8 {
			s.t.Errorf("%s grows: from %+v to %+v", name, first, second)
		}
	}
	s.t.Log("\n" + b.String())
	if s.noFull != "" {
		s.t.Log(s.noFull)
	}
	if s.kills+s.stops == 0 {
		s.t.Error("nobody was killed")
	}
	if *updateReliability {
		if err := replaceBetween(filepath.Join("..", "..", "docs", "reliability.md"), "soak", b.String()); err != nil {
			s.t.Fatal(err)
		}
	}
}

// middle are the medians of what runs took.
func middle(uses []use) (m use) {
	var peaks []int64
	var files []int
	for _, u := range uses {
		peaks, files = append(peaks, u.peak), append(files, u.files)
	}
	slices.Sort(peaks)
	slices.Sort(files)
	return use{peaks[len(peaks)/2], files[len(files)/2]}
}
