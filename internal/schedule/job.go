// Package schedule writes down a job of several workers and a merge in the words of the
// schedulers that run it. It submits nothing.
package schedule

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Job is workers that share a plan, and a merge when all of them are done. Programs and
// paths are those of the machines that run it.
type Job struct {
	Name    string
	Program string
	// Plan is the folder of the plan; a scheduler's logs go there, too.
	Plan string
	// Worker and Merge are the arguments of the program.
	Worker, Merge []string
	Workers       int
	// CPUs, MemoryGiB and GPUs are what a worker is given.
	CPUs, MemoryGiB, GPUs int
	// Time is the longest a Slurm worker may take, HH:MM:SS; "" is the partition's.
	Time string
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
	// jobName is what both take as a name: a label of RFC 1123, with room for suffixes.
	jobName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$`)
	slurmEnd = regexp.MustCompile(`^([0-9]+-)?[0-9]+(:[0-9]{2}){0,2}$`)
)

// Validate says what is wrong with a job for a scheduler.
func (j *Job) Validate(kind string) error {
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(!jobName.MatchString(j.Name), "job name %q is not of lower-case letters, digits and dashes, up to 52", j.Name)
	refuse(j.Workers < 1, "%d workers", j.Workers)
	refuse(j.CPUs < 1 || j.MemoryGiB < 1 || j.GPUs < 0, "a worker of %d processors, %d GiB and %d GPUs", j.CPUs, j.MemoryGiB, j.GPUs)
	refuse(j.Time != "" && !slurmEnd.MatchString(j.Time), "time %q is not HH:MM:SS", j.Time)
	for _, text := range slices.Concat([]string{j.Program, j.Plan, j.Image, j.Claim, j.Mount}, j.Worker, j.Merge) {
		refuse(strings.ContainsAny(text, "\x00\r\n"), "%q is of several lines", text)
	}
	if kind == Slurm {
		// In #SBATCH lines quotes do not help, and % begins a pattern.
		refuse(strings.ContainsAny(j.Plan, "%\"'\\ \t"), "plan %q: Slurm takes no such path for its logs", j.Plan)
	}
	if kind == Kubernetes {
		refuse(j.Image == "" || j.Claim == "" || j.Mount == "", "k8s wants an image, a claim and where it is mounted")
		refuse(j.Mount != "" && !strings.HasPrefix(j.Mount, "/"), "mount %q is no absolute path", j.Mount)
		refuse(j.Claim != "" && !jobName.MatchString(j.Claim), "claim %q is no name", j.Claim)
		refuse(j.Time != "", "a time is for slurm")
	}
	return errors.Join(errs...)
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
