// Package schedule writes a job of several workers and a merge in the form that a scheduler
// takes. It submits nothing.
package schedule

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Job is workers that share a plan, and a merge when all of them are done. Programs and
// paths are those of the machines that run it.
type Job struct {
	Name    string
	Program string
	// Plan is the folder of the plan; a scheduler's logs go there, too.
	Plan string
	// Paths are the other files and folders that the program reads and writes.
	Paths []string
	// Worker and Merge are the arguments of the program.
	Worker, Merge []string
	// Workers is how many there are, MaxRunning how many of them run at a time; 0 is no
	// limit.
	Workers, MaxRunning int
	// CPUs, MemoryGiB and GPUs are what a worker gets.
	CPUs, MemoryGiB, GPUs int
	// Time is the longest a Slurm worker may take, HH:MM:SS; "" is the partition's.
	Time string
	// Sbatch are further options of sbatch, for workers and merge, each as it is written after
	// #SBATCH.
	Sbatch []string
	// Image is a container with the program; Claim is the persistent volume claim that is
	// mounted at Mount: for Kubernetes.
	Image, Claim, Mount string
}

// The schedulers.
const (
	Slurm      = "slurm"
	Kubernetes = "k8s"
)

// Kinds are the schedulers that [Job.Emit] writes for.
func Kinds() []string { return []string{Slurm, Kubernetes} }

var (
	// jobName is a name that both schedulers take: a label of RFC 1123, with room for
	// suffixes.
	jobName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$`)
	slurmEnd = regexp.MustCompile(`^([0-9]+-)?[0-9]+(:[0-9]{2}){0,2}$`)
)

// Validate says what is wrong with a job for a scheduler.
func (j *Job) Validate(kind string) error {
	var errs []error
	var refuse refusal = func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(!jobName.MatchString(j.Name), "job name %q is not of lower-case letters, digits and dashes, up to 52", j.Name)
	refuse(j.Workers < 1, "%d workers", j.Workers)
	refuse(j.MaxRunning < 0, "%d workers at a time", j.MaxRunning)
	refuse(j.CPUs < 1 || j.MemoryGiB < 1 || j.GPUs < 0, "a worker of %d processors, %d GiB and %d GPUs", j.CPUs, j.MemoryGiB, j.GPUs)
	refuse(j.Time != "" && !slurmEnd.MatchString(j.Time), "time %q is not HH:MM:SS", j.Time)
	refuse(j.Time != "" && slurmEnd.MatchString(j.Time) && seconds(j.Time) < shortest,
		"time %q: workers are told to stop %d s before its end, so give at least %d minutes", j.Time, notice, shortest/60)
	for _, text := range slices.Concat([]string{j.Program, j.Plan, j.Image, j.Claim, j.Mount}, j.Worker, j.Merge, j.Sbatch) {
		refuse(strings.ContainsFunc(text, unicode.IsControl), "%q has control characters", text)
	}
	switch kind {
	case Slurm:
		j.validateSlurm(refuse)
	case Kubernetes:
		j.validateKubernetes(refuse)
	}
	return errors.Join(errs...)
}

const (
	// notice is how many seconds before its time limit a worker is told to stop.
	notice = 120
	// shortest is a time limit in seconds that leaves time to work.
	shortest = 300
)

// seconds of a time limit as Slurm takes it: M, M:S, H:M:S, or after days and a dash H, H:M or
// H:M:S.
func seconds(limit string) int {
	units := []int{3600, 60, 1}
	days, clock, hasDays := strings.Cut(limit, "-")
	if !hasDays {
		days, clock = "0", limit
		if strings.Count(clock, ":") < 2 {
			units = units[1:]
		}
	}
	total, err := strconv.Atoi(days)
	total *= 86400
	for i, part := range strings.Split(clock, ":") {
		n, partErr := strconv.Atoi(part)
		err = errors.Join(err, partErr)
		total += n * units[i]
	}
	if err != nil { // too large for a number
		return math.MaxInt
	}
	return total
}

// refusal notes what is wrong with a job.
type refusal func(wrong bool, format string, args ...any)

func (j *Job) validateSlurm(refuse refusal) {
	// A backslash in a log's name turns off the patterns that give each worker its own log.
	refuse(strings.Contains(j.Plan, `\`), "plan %q: Slurm takes no backslash in the path of its logs", j.Plan)
	for _, option := range j.Sbatch {
		refuse(!strings.HasPrefix(option, "-"), "sbatch option %q does not begin with a dash", option)
	}
}

func (j *Job) validateKubernetes(refuse refusal) {
	refuse(j.Time != "" || len(j.Sbatch) > 0, "a time and options of sbatch are for slurm")
	refuse(j.Image == "" || j.Claim == "" || j.Mount == "", "k8s wants an image, a claim and where it is mounted")
	refuse(j.Claim != "" && !jobName.MatchString(j.Claim), "claim %q is no name", j.Claim)
	for _, text := range slices.Concat([]string{j.Program, j.Image, j.Mount}, j.Worker, j.Merge) {
		refuse(!utf8.ValidString(text), "%q is no UTF-8, which YAML is", text)
	}
	if j.Mount != "" && !filepath.IsAbs(j.Mount) {
		refuse(true, "mount %q is no absolute path", j.Mount)
		return
	}
	for _, path := range append([]string{j.Plan}, j.Paths...) {
		refuse(j.Mount != "" && !below(path, j.Mount), "%s is not below %s, where the claim is mounted: pods would not find it", path, j.Mount)
	}
}

// below says whether an absolute path leads into a folder.
func below(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(rel)
}

// maxArray is how many tasks an array may have by Slurm's default MaxArraySize.
const maxArray = 1001

// Notes are what a user should look at before submitting the job.
func (j *Job) Notes(kind string) []string {
	if kind == Slurm && j.Workers > maxArray {
		return []string{fmt.Sprintf("%d workers are more than the %d tasks of an array that Slurm takes by default: see MaxArraySize in scontrol show config",
			j.Workers, maxArray)}
	}
	return nil
}

// Limit is how many workers may run at a time; 0 if that is all of them.
func (j *Job) Limit() int {
	if j.MaxRunning < j.Workers {
		return j.MaxRunning
	}
	return 0
}

// Emit writes the job for a scheduler: a shell script that submits it to Slurm, or YAML
// for kubectl.
func (j *Job) Emit(kind string) (string, error) {
	if err := j.Validate(kind); err != nil {
		return "", err
	}
	switch kind {
	case Slurm:
		return execute(slurmScript, j)
	case Kubernetes:
		return execute(kubernetesJobs, j)
	}
	return "", fmt.Errorf("scheduler %q is none of %v", kind, Kinds())
}
